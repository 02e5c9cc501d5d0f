"""What do weights of fewer bits change?

    python -m benchmarks.accuracy [--models random:small nano] [--dtypes bfloat16 int8] [--tokens 64]

Each model continues the same greedy tokens that it makes in float32, which are fed to all. Relative error: of the
logits, ‖theirs − float32's‖ / ‖float32's‖. Top-1 agreement: the share of steps whose most probable token is the same.
Random weights have no likely tokens, so that small errors change their best one: their agreement is a lower bound.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bark_jax import Bark, bench
from bark_jax.bench import Row
from bark_jax.models.attention import KVCache
from bark_jax.models.gpt import GPT
from bark_jax.policy import Policy
from benchmarks.harness import FOLDER, record
from benchmarks.peers import release

PROMPT = 64  # random tokens before the continuation


@partial(jax.jit, static_argnames=("count", "policy"), donate_argnames="cache")
def _feed(gpt: GPT, cache: KVCache, token: Array, slot: Array, count: int, policy: Policy) -> tuple[Array, KVCache]:
    hidden, cache = gpt.step(gpt.embed(token[None], policy), cache, slot, jnp.zeros(1, jnp.int32), policy)
    return gpt.logits(hidden, policy=policy)[0, :count], cache


def continuation(bark: Bark, stage: bench.Stage, count: int, fed: np.ndarray | None = None) -> np.ndarray:
    """Logits, float32 [count, V], of the steps after a random prompt; `fed` in place of their own best tokens."""
    gpt = getattr(bark, stage)
    policy, vocab = Policy.of(gpt), bark.config.semantic.vocab  # which both stages have
    cache = gpt.empty_cache(1, PROMPT + count, policy)
    tokens = list(np.random.default_rng(0).integers(0, vocab, PROMPT, np.int32))
    logits = []
    for slot in range(PROMPT + count - 1):
        made, cache = _feed(gpt, cache, jnp.int32(tokens[slot]), jnp.int32(slot), vocab, policy)
        if slot >= PROMPT - 1:
            logits.append(np.asarray(made))
            tokens.append(np.int32(logits[-1].argmax() if fed is None else fed[len(logits) - 1]))
    return np.stack(logits)


def measure(source: str, dtypes: Sequence[str], count: int) -> list[Row]:
    """One row for each stage and dtype."""
    exact = Bark.from_pretrained(source, dtype="float32")
    wanted = {stage: continuation(exact, stage, count) for stage in bench.STAGES}
    del exact
    rows: list[Row] = []
    for dtype in dtypes:
        bark = Bark.from_pretrained(source, dtype=dtype)
        for stage, exactly in wanted.items():
            made = continuation(bark, stage, count, exactly.argmax(1))
            error = float(np.linalg.norm(np.float64(made) - exactly) / np.linalg.norm(np.float64(exactly)))
            same = float((made.argmax(1) == exactly.argmax(1)).mean())
            rows.append({"model": source, "dtype": dtype, "stage": stage, "relative error": error, "top-1": same})
        del bark
        release()
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["random:small", "random:large", "nano"])
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "int8"])
    parser.add_argument("--tokens", type=int, default=64, help="steps that are compared")
    parser.add_argument("--out", type=Path, default=FOLDER, help="the folder of RESULTS.md")
    chosen = parser.parse_args(arguments)
    rows = [row for source in chosen.models for row in measure(source, chosen.dtypes, chosen.tokens)]
    record("accuracy of narrow weights", rows, "Against float32, on its greedy tokens.", folder=chosen.out)


if __name__ == "__main__":
    main()
