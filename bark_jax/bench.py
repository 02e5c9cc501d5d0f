"""How fast is Bark on this machine, and how close to what its memory allows? (`bark-jax bench`)

Decoding one token reads every weight of a transformer once, so the bandwidth of the memory bounds the tokens per
second; everything here is measured against that bound, in the same run.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bark_jax.bark import Bark
from bark_jax.config import BarkConfig
from bark_jax.generation import Generation
from bark_jax.measuring import compilations, machine, medians, peak_memory, reader
from bark_jax.models.gpt import GPT
from bark_jax.policy import Policy
from bark_jax.settings import Settings
from bark_jax.stages import coarse, semantic
from bark_jax.stages.decoding import Decoding, decode
from bark_jax.stages.noise import seed_keys
from bark_jax.stages.sampling import Sampling

Stage: TypeAlias = Literal["semantic", "coarse"]  # those that decode token by token
Row: TypeAlias = Mapping[str, Any]  # of a table: short column names and their values
STAGES: tuple[Stage, ...] = ("semantic", "coarse")
STEPS = 20  # decoded in one timed call
CONTEXT = 400  # positions in the cache, about the middle of a clip

_TEXT = "The quick brown fox jumps over the lazy dog, and this sentence is spoken to see how long that takes."


def decoder(
    network: GPT, stage: Stage, config: BarkConfig, *, batch: int = 1, context: int = CONTEXT, steps: int = STEPS
) -> Callable[[], Array]:
    """A function that decodes `steps` tokens per row in one program, the last with `context` positions in the cache.

    Each step is what the stage does: the network, the live logits, the sampling at the default temperature. The cache
    is as long as the stage's and holds zeros: times do not depend on values. The context is traced, so another one
    compiles nothing. Returns tokens, int32 [batch]. Raises ValueError for a context that does not fit.
    """
    length = cache_length(config, stage)
    if not 0 < steps <= context <= length:
        raise ValueError(f"the {stage} cache has {length} positions: context {context}, steps {steps} do not fit")
    settings = [Settings.defaults(config).replace(allow_early_stop=False)] * batch
    rules = Rules(
        sampling=Sampling.of(settings, stage), keys=seed_keys(range(batch)),
        stop=semantic.stop_rule(config.semantic, settings)._replace(limit=jnp.full(batch, np.iinfo(np.int32).max)),
    )  # fmt: skip
    policy = Policy.of(network)
    state = _start(network, stage, config, batch, policy)

    def run() -> Array:
        nonlocal state
        state = state._replace(step=jnp.int32(0), slot=jnp.int32(context - steps))
        state = _decode(network, stage, config, rules, state, steps, policy)
        return state.token

    return run


class Rules(NamedTuple):
    """How the tokens of a benchmark are chosen."""

    sampling: Sampling
    keys: Array
    stop: semantic.StopRule


def _start(network: GPT, stage: Stage, config: BarkConfig, batch: int, policy: Policy) -> Decoding[Any]:
    """A state whose cache holds zeros."""
    nothing = jnp.zeros(batch, jnp.int32)
    tokens = jnp.zeros((batch, cache_length(config, stage)), jnp.int32)
    kept = semantic.Spoken(tokens, nothing, jnp.zeros(batch, bool)) if stage == "semantic" else tokens
    cache = network.empty_cache(batch, cache_length(config, stage), policy)
    return Decoding(cache, +nothing, jnp.int32(0), +nothing, jnp.int32(0), kept, {})  # copies: each is donated once


def cache_length(config: BarkConfig, stage: Stage) -> int:
    """Positions in a stage's cache."""
    return semantic.cache_length(config.semantic) if stage == "semantic" else coarse.cache_length(config)


@partial(jax.jit, static_argnames=("stage", "config", "steps", "policy"), donate_argnames="state")
def _decode(
    network: GPT, stage: Stage, config: BarkConfig, rules: Rules, state: Decoding[Any], steps: int, policy: Policy
) -> Decoding[Any]:
    """A number of steps of a stage."""

    def advance(state: Decoding[Any]) -> Decoding[Any]:
        if stage == "semantic":
            own = config.semantic
            return semantic.step(network, own, state, rules.keys, rules.sampling, rules.stop, policy=policy)
        return coarse.step(network, config, state, rules.keys, rules.sampling, policy=policy)

    return decode(state, advance, lambda state: state.step < steps, steps, policy)


def step_bytes(network: GPT, stage: Stage, config: BarkConfig, *, batch: int = 1, context: int = CONTEXT) -> int:
    """Bytes a decoding step cannot avoid reading: the blocks' weights, the live rows of the head, the cache in use."""
    gpt = network.config
    blocks = sum(leaf.nbytes for leaf in jax.tree.leaves(network.blocks))
    live = config.semantic.vocab + 1 if stage == "semantic" else config.codec.codebook_size
    head = live * gpt.width * network.head.weight.dtype.itemsize
    cache = 2 * gpt.layers * batch * context * gpt.width * jnp.dtype(network.dtype).itemsize
    return blocks + head + cache


def measure(bark: Bark, seconds: float, note: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """All that `bark-jax bench` reports, as JSON would hold it. `note` is called with what is being measured.

    seconds: of the clip that is spoken twice, without an early end. Raises SettingsError.
    """
    note(f"speaking {seconds:g} s twice, the first time compiling")
    clips, compiled = zip(*(_speak(bark, seconds) for _ in range(2)), strict=True)
    peak = peak_memory()
    note("decoding")
    bandwidth, steps = _steps(bark)
    return {
        "machine": machine(),
        "dtype": str(jnp.dtype(bark.semantic.dtype)),
        "bandwidth GB/s": bandwidth / 1e9,
        "steps": steps,
        "stages": [_stage_row(stage, *clips) for stage in clips[1].timings],
        "programs": compiled,
        "audio s": clips[1].seconds,
        "real-time factor": clips[1].real_time_factor,
        "peak memory GB": {place: size / 1e9 for place, size in peak.items()},
    }


def _speak(bark: Bark, seconds: float) -> tuple[Generation, int]:
    """A clip and the number of programs compiled for it."""
    with compilations() as durations:
        clip = bark.generate(_TEXT, seed=0, max_seconds=seconds, allow_early_stop=False)
    return clip, len(durations)


def _steps(bark: Bark) -> tuple[float, list[Row]]:
    """The bandwidth of the memory, bytes per second, and a row for each stage that decodes."""
    read, size = reader()
    calls: dict[str, Callable[[], Array]] = {"read": read}
    context = min(CONTEXT, *(cache_length(bark.config, stage) for stage in STAGES))
    for stage in STAGES:
        calls[stage] = decoder(getattr(bark, stage), stage, bark.config, context=context)
    times = medians(calls)
    bandwidth = size / times["read"]
    return bandwidth, [
        step_row(getattr(bark, stage), stage, bark.config, times[stage] / STEPS, bandwidth, context=context)
        for stage in STAGES
    ]


def step_row(
    network: GPT, stage: Stage, config: BarkConfig, seconds: float, bandwidth: float,
    *, batch: int = 1, context: int = CONTEXT,
) -> dict[str, Any]:  # fmt: skip
    """A decoding step that takes `seconds`, beside the bandwidth in bytes per second."""
    share = step_bytes(network, stage, config, batch=batch, context=context) / seconds / bandwidth
    return {
        "stage": stage, "batch": batch, "context": context, "ms/step": 1e3 * seconds, "tokens/s": batch / seconds,
        "of bandwidth": share,
    }  # fmt: skip


def _stage_row(stage: str, first: Generation, again: Generation) -> Row:
    seconds = again.timings[stage]
    return {"stage": stage, "first s": first.timings[stage], "s": seconds, "s per audio s": seconds / again.seconds}


def describe(report: Mapping[str, Any]) -> str:
    """A report of `measure` for people."""
    peaks = ", ".join(f"{size:.2f} GB ({place})" for place, size in report["peak memory GB"].items())
    first, again = report["programs"]
    return "\n".join(
        [
            *(f"{key:9} {value}" for key, value in report["machine"].items() if value),
            f"\none decoding step in {report['dtype']}; memory is read at {report['bandwidth GB/s']:.1f} GB/s",
            table(report["steps"]),
            f"\na clip of {report['audio s']:.2f} s, twice; programs compiled or loaded: {first}, then {again}",
            table(report["stages"]),
            f"\nreal-time factor {report['real-time factor']:.2f}, peak memory {peaks or 'unknown'}",
        ]
    )


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table with every column of any row, in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, *([_cell(row.get(key)) for key in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    padded = (" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(f"| {line} |" for line in padded)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value).replace("|", "\\|").replace("\n", " ")
