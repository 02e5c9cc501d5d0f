"""Token by token: the one loop of the semantic and coarse stages, and of the benchmark.

A step feeds the network the token before (`GPT.step`), samples the next one from its hidden state (`sample`), and keeps
it (`observe`). All of it is pure: to be jitted, vmapped or differentiated with the stage around it.

Axes: B batch, N room for steps, S cache length, L layers, H heads, C width.
"""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from bark_jax.models.attention import KVCache
from bark_jax.models.gpt import GPT
from bark_jax.policy import Policy

Kept = TypeVar("Kept")


class Decoding(NamedTuple, Generic[Kept]):
    """A batch in the middle of its decoding."""

    cache: KVCache | None  # None before the first prompt
    start: Array  # [B] int32: slot where each row's prompt begins
    slot: Array  # int32: where the next token goes
    token: Array  # [B] int32: fed next
    step: Array  # int32: steps taken
    kept: Kept  # what the stage keeps of its tokens
    outputs: dict[str, Array]  # asked-for outputs of every step, [B, N, …]


class Sampled(NamedTuple):
    """What a stage makes of a hidden state."""

    token: Array  # [B] int32
    ended: Array | None = None  # [B] bool: which rows end here instead
    outputs: dict[str, Array] = {}  # noqa: RUF012 – never written to; [B, …], those that the stage itself computes


Sample: TypeAlias = Callable[[Array, Decoding[Any]], Sampled]  # of hidden states [B, C]
Observe: TypeAlias = Callable[[Decoding[Any], Sampled], tuple[Array, Any]]  # → the token to feed next, and what to keep


def decode_step(gpt: GPT, state: Decoding[Kept], sample: Sample, observe: Observe, policy: Policy) -> Decoding[Kept]:
    """One token per row."""
    assert state.cache is not None, "prefill first"
    weights: list[Array] | None = [] if "attention" in state.outputs else None
    hidden, cache = gpt.step(
        gpt.embed(state.token, policy), state.cache, state.slot, state.start, policy, weights=weights
    )
    sampled = sample(hidden, state)
    token, kept = observe(state, sampled)
    made = {"hidden": hidden, **sampled.outputs}
    if weights:
        made["attention"] = jnp.stack(weights, axis=1)  # [B, L, H, S]
    outputs = {
        name: jax.lax.dynamic_update_index_in_dim(buffer, made[name].astype(buffer.dtype), state.step, axis=1)
        for name, buffer in state.outputs.items()
    }
    return Decoding(cache, state.start, state.slot + 1, token, state.step + 1, kept, outputs)


def decode(
    state: Decoding[Kept],
    step: Callable[[Decoding[Kept]], Decoding[Kept]],
    unfinished: Callable[[Decoding[Kept]], Array],
    segment: int,
    policy: Policy,
) -> Decoding[Kept]:
    """Step after step while a state is unfinished, bool scalar.

    Where the policy wants fixed trips, it is asked every `segment` steps: a state must bear steps past its end.
    """

    def run_segment(state: Decoding[Kept]) -> Decoding[Kept]:
        return jax.lax.fori_loop(0, segment, lambda _, s: step(s), state)

    return jax.lax.while_loop(unfinished, run_segment if policy.fixed_trips else step, state)


def empty_outputs(gpt: GPT, names: frozenset[str], batch: int, steps: int, cache_length: int) -> dict[str, Array]:
    """Room for the outputs of all steps, float32: log_probabilities [B, N], hidden [B, N, C],
    attention [B, N, L, H, S]."""
    rules = gpt.config
    shapes: dict[str, tuple[int, ...]] = {
        "log_probabilities": (), "hidden": (rules.width,), "attention": (rules.layers, rules.heads, cache_length),
    }  # fmt: skip
    return {name: jnp.zeros((batch, steps, *shapes[name]), jnp.float32) for name in sorted(names)}
