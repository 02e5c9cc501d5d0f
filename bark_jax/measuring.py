"""What is this machine, how fast does it read its memory, and what do programs cost on it?"""

import contextlib
import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import Array

from bark_jax.policy import default_device

ROUNDS = 5  # of calls that take turns
CPU_WIDTH, ACCELERATOR_WIDTH = 10_240, 16_384  # of the matrix that is read: 0.4 and 1.1 GB, far more than any cache


def machine() -> dict[str, str]:
    """What the figures depend on: hardware, system, versions and flags."""
    device = jax.devices()[0]
    accelerator = {"device": f"{device.device_kind} × {jax.device_count()}"} if device.platform != "cpu" else {}
    packages = ("jax", "jaxlib", "flax", "numpy")
    return {
        **accelerator,
        "host": f"{_cpu()}, {_memory()}",
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
        "backend": device.platform,
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


def _cpu() -> str:
    """Model and number of the processor cores that this process may use."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model} × {cores} cores"


def _memory() -> str:
    if not hasattr(os, "sysconf"):  # Windows
        return "unknown memory"
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def medians(calls: Mapping[str, Callable[[], Array]], rounds: int = ROUNDS) -> dict[str, float]:
    """Median seconds of each call. They take turns, after one call each that compiles."""
    for call in calls.values():
        call().block_until_ready()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call().block_until_ready()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in seconds.items()}


def reader() -> tuple[Callable[[], Array], int]:
    """A function that reads memory as fast as this device does, and the bytes that one call of it reads.

    Of a matrix-vector product and a sum it is the faster. Several in a row, each fed by the one before it, hide
    what a dispatch costs.
    """
    width, chained = (CPU_WIDTH, 4) if default_device().platform == "cpu" else (ACCELERATOR_WIDTH, 16)
    matrix, ones = jnp.full((width, width), 1 / width, jnp.float32), jnp.ones(width)

    def call(read: Callable[[Array, Array], Array]) -> Array:
        vector = ones
        for _ in range(chained):
            vector = read(matrix, vector)
        return vector

    calls = {
        "product": partial(call, jax.jit(lambda m, x: m @ x)),
        "sum": partial(call, jax.jit(lambda m, x: m.sum() + x)),
    }
    times = medians(calls)
    return calls[min(times, key=times.__getitem__)], chained * matrix.nbytes


def peak_memory() -> dict[str, int]:
    """The most bytes this process held so far: "host" where the system is Linux, "device" where JAX can tell."""
    peaks = {}
    with contextlib.suppress(OSError, StopIteration):
        status = Path("/proc/self/status").read_text().splitlines()
        peaks["host"] = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    usage = jax.devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in usage:
        peaks["device"] = usage["peak_bytes_in_use"]
    return peaks


@contextlib.contextmanager
def compilations() -> Iterator[list[float]]:
    """Collects the seconds it took to compile, or to read from the compilation cache, each program of the block."""
    durations: list[float] = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            durations.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield durations
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
