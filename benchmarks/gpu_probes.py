"""Where does a GPU's time go, and would other ways of attention or graph capture be faster?"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import Array
from jax.profiler import ProfileData

from bark_jax import Bark, BarkConfig, Settings
from bark_jax.bench import Row
from bark_jax.models.attention import attend_causal, attend_window
from benchmarks import peers
from benchmarks.harness import interleaved, row_of_process

GRAPH_FLAG = "--xla_gpu_enable_command_buffer=+WHILE"  # whole loops in one CUDA graph
SECONDS = 3.0  # of audio
TOP = 10  # kernels listed
REPEATS = 10  # of an attention in a call


def profile(bark: Bark, size: str) -> Iterator[Row]:
    """What the device does in the semantic and in the coarse stage: kernels a token, and the slowest of them."""
    clip = peers.Clip.random(bark.config, seconds=SECONDS)
    ours = peers.Ours(bark, Settings.defaults(bark.config).replace(allow_early_stop=False))
    for stage, tokens in (("semantic", clip.semantic.size), ("coarse", clip.coarse.size)):
        call = peers.stage_call(ours, stage, clip)
        call()
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            with jax.profiler.trace(folder):
                call()
            traced = time.perf_counter() - started
            events = _device_events(Path(folder))
        busy, count = Counter(), Counter()
        for name, seconds in events:
            busy[name] += seconds
            count[name] += 1
        label = {"size": size, "stage": stage}
        total = {"kernels/token": count.total() / tokens, "busy ms/token": 1e3 * busy.total() / tokens}
        yield label | {"kernel": "all"} | total | {"note": f"{1e3 * traced / tokens:.3g} ms/token while traced"}
        for name, seconds in busy.most_common(TOP):
            share = {"kernels/token": count[name] / tokens, "busy ms/token": 1e3 * seconds / tokens}
            yield label | {"kernel": name[:80]} | share


def _device_events(folder: Path) -> list[tuple[str, float]]:
    """Name and seconds of everything that ran on the streams of a GPU; on other devices, of everything traced."""
    planes = [p for file in folder.rglob("*.xplane.pb") for p in ProfileData.from_file(str(file)).planes]
    streams = [
        line for plane in planes if plane.name.startswith("/device:GPU")
        for line in plane.lines if line.name.startswith("Stream")
    ]  # fmt: skip
    lines = streams or [line for plane in planes for line in plane.lines]
    return [(event.name, event.duration_ns / 1e9) for line in lines for event in line.events]


def graph_capture(size: str, dtype: str) -> Iterator[Row]:
    """The semantic stage without and with whole loops in a graph, each in a new process: XLA reads its flags once."""
    for flag in ("", GRAPH_FLAG):
        row = row_of_process("benchmarks.gpu_probes", size, dtype, f"--flag={flag}")
        yield {"size": size, "dtype": dtype, "stage": "semantic", "flag": flag or "none"} | row


def stage_time(size: str, dtype: str) -> Row:
    """Seconds of the semantic stage."""
    bark = Bark.from_config(BarkConfig.preset(size), jax.random.key(0), dtype=dtype)
    clip = peers.Clip.random(bark.config, seconds=SECONDS)
    ours = peers.Ours(bark, Settings.defaults(bark.config).replace(allow_early_stop=False))
    [seconds] = interleaved({"ours": peers.stage_call(ours, "semantic", clip)}, 5).values()
    return {"s": statistics.median(seconds), "ms/step": 1e3 * statistics.median(seconds) / clip.semantic.size}


def attention(size: str, dtype: str, rounds: int) -> Iterator[Row]:
    """Ours against `jax.nn.dot_product_attention`, for a long coarse prompt and for a window of the fine stage."""
    gpt = BarkConfig.preset(size).coarse.gpt
    for name, length, causal in (("coarse prompt", 886, True), ("fine window", 1024, False)):
        for batch in (1, 8):
            shape = (batch, length, gpt.heads, gpt.width // gpt.heads)
            qkv = jax.random.normal(jax.random.key(0), (3, *shape), jnp.float32).astype(dtype)
            label = {"attention": name, "batch": batch, "dtype": dtype}
            for implementation, attend in attentions(causal).items():
                yield label | {"implementation": implementation} | _time_attention(attend, qkv, rounds)


def attentions(causal: bool) -> dict[str, Callable[[Array], Array]]:
    """Name → attention, from queries, keys and values [3, B, T, H, D] to [B, T, H, D]."""
    theirs = partial(jax.nn.dot_product_attention, is_causal=causal)

    def ours(qkv: Array) -> Array:
        by_head = qkv.swapaxes(2, 3)  # [3, B, H, T, D]
        q, k, v = by_head.reshape(3, -1, *by_head.shape[3:])
        attended = attend_causal(q, k, v, jnp.zeros(len(q), jnp.int32)) if causal else attend_window(q, k, v)
        return attended.reshape(by_head.shape[1:]).swapaxes(1, 2)

    return {
        peers.OURS: ours,
        "jax.nn, XLA": lambda qkv: theirs(*qkv, implementation="xla"),
        "jax.nn, cuDNN": lambda qkv: theirs(*qkv, implementation="cudnn"),
    }


def _time_attention(attend: Callable[[Array], Array], qkv: Array, rounds: int) -> Row:
    """Milliseconds of one of several in a row, each of which waits for the one before."""

    @jax.jit
    def call(qkv: Array) -> Array:
        def again(_: int, qkv: Array) -> Array:
            return qkv.at[0].set(attend(qkv))

        return jax.lax.fori_loop(0, REPEATS, again, qkv)

    try:
        [seconds] = interleaved({"attention": lambda: call(qkv)}, rounds).values()
    except Exception as error:  # any error that keeps it from running is its result
        return {"note": peers.reason(error)}
    return {"ms": 1e3 * statistics.median(seconds) / REPEATS}


def main(arguments: Sequence[str] | None = None) -> None:
    """A process of `graph_capture`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size")
    parser.add_argument("dtype")
    parser.add_argument("--flag", default="")
    chosen = parser.parse_args(arguments)
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {chosen.flag}".strip()
    print(json.dumps(stage_time(chosen.size, chosen.dtype)))


if __name__ == "__main__":
    main()
