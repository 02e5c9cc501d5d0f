"""Accelerators that programs are compiled for where there are none: facts of each, and how its compiler is reached.

Both compilers run without a device. Nothing is executed: what they compile shows structure and memory, not time.
"""

from dataclasses import dataclass
from typing import Any

import jax
from jax.experimental import topologies

GB = 1e9


@dataclass(frozen=True, kw_only=True)
class Target:
    """One kind of accelerator, as its maker and XLA describe it."""

    platform: str  # "tpu" or "gpu"
    title: str
    memory: float  # bytes
    bandwidth: float  # bytes a second
    clock_khz: int = 0  # of the memory of a GPU, for its description


# TPUs: memory and bandwidth of one chip by Google Cloud's documentation. GPUs: by the target configurations in XLA's
# sources (xla/backends/gpu/target_config/specs/h100_sxm.txtpb and h200.txtpb).
TARGETS = {
    "v5e": Target(platform="tpu", title="TPU v5e", memory=16 * 2**30, bandwidth=819 * GB),
    "v6e": Target(platform="tpu", title="TPU v6e", memory=32 * 2**30, bandwidth=1640 * GB),
    "h100": Target(
        platform="gpu", title="NVIDIA H100 80GB HBM3", memory=84942979072, bandwidth=3352.32 * GB, clock_khz=2619000
    ),
    "h200": Target(
        platform="gpu", title="NVIDIA H200 141GB HBM3e", memory=151397597184, bandwidth=4800 * GB, clock_khz=3750000
    ),
}

# What both cards share: compute capability 9.0a, 132 multiprocessors. XLA captures whole loops only for a driver and a
# runtime that it knows to be new enough. Without the rates of the arithmetic units it takes its defaults, which decide
# between fusions that cost alike.
_HOPPER = {
    "threads_per_block_limit": 1024, "threads_per_warp": 32, "shared_memory_per_block": 49152,
    "shared_memory_per_core": 233472, "shared_memory_per_block_optin": 232448, "threads_per_core_limit": 2048,
    "core_count": 132, "fpus_per_core": 128, "block_dim_limit_x": 2147483647, "block_dim_limit_y": 65535,
    "block_dim_limit_z": 65535, "l2_cache_size": 52428800, "clock_rate_ghz": 1.98, "registers_per_core_limit": 65536,
    "registers_per_block_limit": 65536, "thread_dim_limit_x": 1024, "thread_dim_limit_y": 1024,
    "thread_dim_limit_z": 64, "device_address_bits": 64, "driver_version": "13.0.0", "runtime_version": "12.8.0",
    "compile_time_toolkit_version": "12.8.0", "dnn_version": "9.10.0",
}  # fmt: skip
ENVIRONMENT = {  # for libtpu, which otherwise looks for chips
    "TPU_SKIP_MDS_QUERY": "1", "TPU_ACCELERATOR_TYPE": "v5litepod-4", "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_WORKER_ID": "0", "TPU_STDERR_LOG_LEVEL": "3", "TPU_MIN_LOG_LEVEL": "3", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "JAX_PLATFORMS": "cpu",
}  # fmt: skip


def devices(name: str, count: int = 1) -> list[Any]:
    """Devices to compile for, which exist in name only: 1, 4 or 8 chips of a TPU, or one GPU.

    The process must have been started with ENVIRONMENT. Raises RuntimeError where the compiler is not installed.
    """
    target = TARGETS[name]
    if target.platform == "gpu":
        return _topology("cuda", "", target_config=_gpu_config(target), topology=f"1x1x{count}")
    x, y = {1: (1, 1), 4: (2, 2), 8: (2, 4)}[count]
    return _topology("tpu", f"{name}:{x}x{y}", chips_per_host_bounds=[x, y, 1])


def _topology(platform: str, name: str, **options: Any) -> list[Any]:
    try:
        return list(topologies.get_topology_desc(name, platform, **options).devices)
    except (RuntimeError, ValueError, jax.errors.JaxRuntimeError) as error:
        raise RuntimeError(f"no compiler for {platform}: pip install -e '.[compiled]' ({error})") from error


def _gpu_config(target: Target) -> str:
    """A card as XLA's GpuTargetConfigProto in text form."""
    facts = _HOPPER | {
        "memory_bandwidth": int(target.bandwidth), "device_memory_size": int(target.memory), "name": target.title,
    }  # fmt: skip
    lines = [f'{key}: "{value}"' if isinstance(value, str) else f"{key}: {value}" for key, value in facts.items()]
    capability = "cuda_compute_capability { major: 9 feature_extension: ACCELERATED_FEATURES }"
    info = "\n".join([*lines, capability])
    return (
        f'gpu_device_info {{\n{info}\n}}\nplatform_name: "CUDA"\n'
        f'dnn_version_info {{ major: 9 minor: 10 }}\ndevice_description_str: "{target.title}"\n'
    )
