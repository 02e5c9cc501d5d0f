"""What is decided by the device: one frozen value, derived from where the weights are and passed to every program.

Programs take it as a static argument. Nothing else in the package asks which platform it runs on, so a platform's
layout, attention or loops are changed here and in `bark_jax.models.attention`. The codec, which takes no policy, leaves
the form of its convolutions to the platform that they are lowered for (`bark_jax.models.convolution`).
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import Any, Self, TypeAlias

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from bark_jax import kernels
from bark_jax.sharding import MODEL

_BFLOAT16_SINCE = 8.0  # compute capability of the first NVIDIA cards that multiply bfloat16


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How programs are made for a platform. The defaults are the plain definition, and the CPU's."""

    platform: str = "cpu"  # or "gpu", "tpu"
    dtype: str = "float32"  # what the transformers compute in where nothing is asked for
    # Loops take a fixed number of steps and waste those past the end: a GPU copies the condition of any other loop to
    # the host, and waits for it, in every step.
    fixed_trips: bool = False
    batch_size: int = 1  # clips made side by side where nothing is asked for: on CPUs one, to be heard soon
    kernels: bool = False  # products of few rows in C++ (`bark_jax.kernels`), for one CPU
    fine_alone: bool = True  # the fine stage makes the clips of a batch one by one: on CPUs its windows gain nothing
    query_chunk: int = 256  # queries attended at once in a prompt or window; a causal chunk sees only its prefix
    # Rows of a decoding step, which repetitions fill up: below 8 a TPU multiplies row by row, off its matrix unit.
    step_rows: int = 1
    # Rows of a layer normalisation there: XLA for GPUs makes three kernels of one row, and fuses two into the product.
    norm_rows: int = 1
    flat_cache: bool = False  # a layer's keys are [B, S, C] instead of [B·H, S, D] (see `models.attention`)
    # Frames that the codec decodes at once, 1 s of Bark's: a clip costs what its length costs, and no length compiles
    # again. For TPUs a fifth: the compiler unrolls convolutions over time, and takes as long.
    codec_piece: int = 75
    threshold_bits: int = 1  # bits of a threshold of top-k or top-p that one pass over the logits decides; divides 32

    @classmethod
    def of_device(cls, device: jax.Device, *, split: bool = False) -> Self:
        """The policy for a device: bfloat16 where it is multiplied at full speed. split: see `of_platform`."""
        capability = float(getattr(device, "compute_capability", None) or _BFLOAT16_SINCE)  # of NVIDIA cards alone
        policy = cls.of_platform(device.platform, bfloat16=capability >= _BFLOAT16_SINCE, split=split)
        return replace(policy, kernels=device.platform == "cpu" and kernels.available())

    @classmethod
    def of_platform(cls, platform: str, *, bfloat16: bool = True, split: bool = False) -> Self:
        """The policy for a platform as JAX names it: "cpu", "gpu" or "tpu".

        split: whether weights are spread over devices. XLA would spread a flat cache too, and copy it in every call.
        """
        half = bfloat16 and platform != "cpu"  # on CPUs bfloat16 products are twelve times slower
        return cls(
            platform=platform,
            dtype="bfloat16" if half else "float32",
            fixed_trips=platform == "gpu",
            batch_size=1 if platform == "cpu" else 4,
            fine_alone=platform == "cpu",
            query_chunk=1024 if platform == "gpu" else 256,
            step_rows=8 if platform == "tpu" else 1,
            norm_rows=2 if platform == "gpu" else 1,
            threshold_bits=4 if platform == "gpu" else 1,
            flat_cache=platform == "tpu" and not split,
            codec_piece=15 if platform == "tpu" else 75,
        )

    @classmethod
    def of_mesh(cls, mesh: Mesh | None) -> Self:
        """The policy for the devices of a mesh; for the default device if there is none."""
        if mesh is None:
            return cls.of_device(default_device())
        return cls._of_devices(set(mesh.devices.flat), split=mesh.shape.get(MODEL, 1) > 1)

    @classmethod
    def of(cls, network: Any) -> Self:
        """The policy for the devices that hold a network; NumPy arrays are used on the default device."""
        leaf = jax.tree.leaves(network)[0]
        if not isinstance(leaf, jax.Array) or isinstance(leaf, jax.core.Tracer):
            return cls.of_device(default_device())
        if isinstance(leaf.sharding, NamedSharding) and isinstance(leaf.sharding.mesh, Mesh):
            return cls.of_mesh(leaf.sharding.mesh)
        return cls._of_devices(leaf.devices())

    @classmethod
    def _of_devices(cls, devices: Set[jax.Device], *, split: bool = False) -> Self:
        policy = cls.of_device(next(iter(devices)), split=split)
        return replace(policy, kernels=policy.kernels and len(devices) < 2)


PLAIN = Policy()
COMPUTED = ("float32", "bfloat16", "float16")  # what transformers can compute in
DTYPES = (*COMPUTED, "int8")  # what they can be held in
TRANSFORMERS = ("semantic", "coarse", "fine")

DTypes: TypeAlias = str | Mapping[str, str] | None
"""One of DTYPES for all transformers, or for those that a mapping names; None, and for the others: the default."""


def network_dtypes(dtype: DTypes, param_dtype: DTypes, policy: Policy) -> dict[str, dict[str, Any]]:
    """`dtype` and `param_dtype` of each network: by default what the policy says, and what is computed in.

    "int8" applies to the weights alone, and so does "bfloat16" on CPUs, whose products of bfloat16 are slow: they
    compute in the policy's dtype. The codec is always float32. Raises ValueError for another dtype, and for names of
    other networks.
    """
    asked = _each(dtype, dict.fromkeys(TRANSFORMERS, policy.dtype))
    held = _each(param_dtype, asked)
    weights_alone = ("int8", "bfloat16") if policy.platform == "cpu" else ("int8",)
    computed = {name: policy.dtype if own in weights_alone else own for name, own in asked.items()}
    made = {name: {"dtype": jnp.dtype(computed[name]), "param_dtype": jnp.dtype(held[name])} for name in TRANSFORMERS}
    return {**made, "codec": {"dtype": jnp.dtype(jnp.float32), "param_dtype": jnp.dtype(jnp.float32)}}


def _each(given: DTypes, default: Mapping[str, str]) -> dict[str, str]:
    chosen = given if isinstance(given, Mapping) else dict.fromkeys(default, given) if given else {}
    for name, dtype in chosen.items():
        if name not in TRANSFORMERS:
            raise ValueError(f"there is a dtype for each of {', '.join(TRANSFORMERS)}, not for {name!r}")
        if dtype not in DTYPES:
            raise ValueError(f"a dtype is one of {', '.join(DTYPES)}, not {dtype!r}")
    return {**default, **chosen}


def default_device() -> jax.Device:
    """Where JAX puts an array that nothing places: the device of `jax.default_device`, else the first."""
    return next(iter(jnp.zeros(()).devices()))
