"""What does a clip's time consist of, and how much of it is the machine's limit rather than ours?

    python -m benchmarks.limits [--size small] [--cases 5 10:voice] [--rounds 7]

A clip is decoding steps, prefills, fine passes and frames of the codec; the host's work is what is missing. A
step reads memory, so its limit is its bytes at the bandwidth measured in turns with it, and so does a frame of the
codec's LSTM, whose weights may stay in a cache that is faster. The rest multiplies matrices: its limit is its
operations at the speed of large products in the same dtype, measured likewise.
"""

import argparse
import dataclasses
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bark_jax import Bark, BarkConfig, Settings, bench
from bark_jax.bench import Row
from bark_jax.measuring import reader
from bark_jax.models.attention import KVCache
from bark_jax.models.encodec import Decoder
from bark_jax.models.gpt import GPT
from bark_jax.stages.coarse_plan import KEEP, coarse_history, coarse_steps, plan_windows
from bark_jax.stages.codec import PIECE
from bark_jax.stages.fine import plan_rows
from benchmarks import peers
from benchmarks.end_to_end import Case
from benchmarks.harness import FOLDER, interleaved, record

WIDTH = 2048  # of the matrices whose product shows how fast products are


class Part(NamedTuple):
    """One program of a clip, and what bounds it."""

    stage: str
    name: str
    call: Callable[[], Any]
    repeats: int  # in one call
    size: float  # bytes read or operations done, each time
    bound: str  # "memory" or "products"


def step(bark: Bark, stage: bench.Stage) -> Part:
    """A decoding step in the middle of a clip."""
    network = getattr(bark, stage)
    size = bench.step_bytes(network, stage, bark.config)
    return Part(stage, "step", bench.decoder(network, stage, bark.config), bench.STEPS, size, "memory")


def prefill(bark: Bark, stage: bench.Stage, length: int) -> Part:
    """A prompt of `length` positions, all but its last token."""
    network: GPT = getattr(bark, stage)
    slots = bench.cache_length(bark.config, stage)

    @jax.jit
    def run(network: GPT, tokens: Array) -> KVCache:
        return network.prefill(network.embed(tokens), jnp.zeros(1, jnp.int32), slots)

    tokens = jnp.zeros((1, length), jnp.int32)
    return Part(
        stage, f"prefill {length}", lambda: run(network, tokens), 1, operations(run, network, tokens), "products"
    )


def fine_pass(bark: Bark) -> Part:
    """One codebook of one window."""
    run, rules = jax.jit(type(bark.fine).__call__), bark.config.fine.gpt
    arguments = (bark.fine, jnp.zeros((1, rules.codebooks, rules.block_size), jnp.int32), np.int32(4))
    return Part("fine", "pass", lambda: run(*arguments), 1, operations(run, *arguments), "products")


def codec_lstm(bark: Bark) -> Part:
    """The decoder's LSTM, by the frame: one after another, each reads all its recurrent weights."""
    lstm = bark.codec.decoder.lstm
    run = jax.jit(type(lstm).__call__)
    frames = jnp.zeros((1, PIECE, lstm.layers[0].hidden_weight.shape[1]), jnp.float32)
    size = sum(layer.hidden_weight.nbytes for layer in lstm.layers)
    return Part("codec", "LSTM", lambda: run(lstm, frames, lstm.start(1)), PIECE, size, "memory")


def codec_convolutions(bark: Bark) -> Part:
    """All else of the decoder, by the frame."""
    config = dataclasses.replace(bark.config.codec, lstm_layers=0)
    decoder, run = Decoder(config), jax.jit(Decoder.__call__)
    start = bark.codec.decoder.start(1)._replace(lstm=())
    arguments = (decoder, jnp.zeros((1, PIECE, config.width), jnp.float32), start)
    return Part(
        "codec", "convolutions", lambda: run(*arguments), PIECE, operations(run, *arguments) / PIECE, "products"
    )


def operations(run: Any, *arguments: Any) -> float:
    """Floating-point operations of a program without loops, as XLA counts them."""
    return float(run.lower(*arguments).cost_analysis()["flops"])


def counts(config: BarkConfig, case: Case) -> dict[tuple[str, str], int]:
    """How often the parts of a clip run, by stage and name."""
    clip, settings = peers.Clip.random(config, seconds=case.seconds, voice=case.voice), Settings.defaults(config)
    rules, tokens = config.coarse, list(clip.semantic)
    history = coarse_history(config, clip.voice, settings)
    plan = plan_windows(config, tokens, [history], [settings], len(tokens[0]))
    restarts = plan.coarse_count[0][plan.action != KEEP]
    frames, past = clip.coarse.shape[2], config.fine.max_history if clip.voice else 0
    passes = int(plan_rows(config, [frames], [past]).windows[0]) * (config.codec.codebooks - rules.codebooks)
    return {
        ("semantic", "step"): len(tokens[0]),
        ("semantic", f"prefill {config.semantic.max_text}"): 1,
        ("coarse", "step"): coarse_steps(config, len(tokens[0])),
        ("coarse", f"prefill {rules.max_semantic}"): int((restarts == 0).sum()),
        ("coarse", f"prefill {rules.max_semantic + rules.max_history}"): int((restarts > 0).sum()),
        ("fine", "pass"): passes,
        ("codec", "LSTM"): frames,
        ("codec", "convolutions"): frames,
    }


def measure(bark: Bark, cases: Sequence[Case], rounds: int) -> list[Row]:
    """One row per case and part."""
    rules = bark.config.coarse
    parts = [
        step(bark, "semantic"), prefill(bark, "semantic", bark.config.semantic.max_text), step(bark, "coarse"),
        prefill(bark, "coarse", rules.max_semantic), prefill(bark, "coarse", rules.max_semantic + rules.max_history),
        fine_pass(bark), codec_lstm(bark), codec_convolutions(bark),
    ]  # fmt: skip
    read, size = reader()
    matrix = jnp.full((WIDTH, WIDTH), 1 / WIDTH, bark.semantic.dtype)
    product = jax.jit(lambda m: m @ m)
    calls = {"memory": read, "products": lambda: product(matrix), **{str(i): p.call for i, p in enumerate(parts)}}
    medians = {name: statistics.median(times) for name, times in interleaved(calls, rounds).items()}
    speeds = {"memory": size / medians["memory"], "products": 2 * WIDTH**3 / medians["products"]}
    rows = []
    for case in cases:
        repeats = counts(bark.config, case)
        for i, part in enumerate(parts):
            each, limit = medians[str(i)] / part.repeats, part.size / speeds[part.bound]
            times = repeats[part.stage, part.name]
            rows.append(
                {"audio s": case.seconds, "voice": "yes" if case.voice else "no", "stage": part.stage}
                | {"part": part.name, "times": times, "ms": 1e3 * each, "limit ms": 1e3 * limit}
                | {"of limit": limit / each, "s": times * each, "limit s": times * limit, "bound": part.bound}
                | {"speed": f"{speeds[part.bound] / 1e9:.0f} {'GB/s' if part.bound == 'memory' else 'GFLOP/s'}"}
            )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="small")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"])
    parser.add_argument("--cases", nargs="+", type=Case.parse, default=[Case(5.0), Case(10.0, voice=True)])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder of RESULTS.md")
    chosen = parser.parse_args(arguments)
    bark = Bark.from_config(BarkConfig.preset(chosen.size), jax.random.key(0), dtype=chosen.dtype)
    rows = [peers.label(chosen.size, bark) | row for row in measure(bark, chosen.cases, chosen.rounds)]
    record(f"what a clip consists of, {chosen.size}", rows, folder=chosen.out)


if __name__ == "__main__":
    main()
