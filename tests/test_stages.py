"""The stages' loops: in each platform's layout, and however device and host take turns, the tokens are the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bark_jax import Bark, BarkConfig, Generation
from bark_jax.policy import PLAIN, Policy


@pytest.mark.parametrize(
    ("platform", "watched", "seconds"), [("gpu", False, 0.5), ("gpu", True, 5), ("tpu", False, 5), ("tpu", True, 0.5)]
)
def test_policies_change_nothing(platform: str, watched: bool, seconds: float) -> None:
    """GPUs run whole segments and windows, and throw away what is past the end; TPUs have another cache."""
    bark = Bark.from_config(BarkConfig.tiny(), jax.random.key(0))
    seen: list[tuple[str, int, int]] = []

    def generate() -> Generation:
        progress = (lambda *report: seen.append(report)) if watched else None
        rules = {"semantic_top_k": 50, "coarse_top_p": 0.9}
        return bark.generate("Hello", seed=4, min_eos_p=0.01, max_seconds=seconds, progress=progress, **rules)

    expected, reports = generate(), list(seen)
    bark.engine.policy = Policy.of_platform(platform, bfloat16=False)
    seen.clear()
    made = generate()
    np.testing.assert_array_equal(made.fine, expected.fine)
    np.testing.assert_allclose(made.waveform, expected.waveform, atol=1e-5)
    assert seen == reports


@pytest.mark.parametrize(("platform", "batch"), [("gpu", 1), ("tpu", 1), ("tpu", 3)])
def test_a_step_is_the_plain_one(platform: str, batch: int) -> None:
    """After a prompt: the hidden states, and the attention's weights."""
    gpt = Bark.from_config(BarkConfig.tiny(), jax.random.key(0)).semantic
    tokens = np.arange(batch * 12).reshape(batch, 12) % 50
    start = jnp.arange(batch, dtype=jnp.int32)  # rows begin in different slots

    def run(policy: Policy) -> tuple[list[jax.Array], list[jax.Array]]:
        cache, hidden, weights = gpt.prefill(gpt.embed(tokens[:, :10]), start, 20, policy), [], []
        assert jax.tree.map(jnp.shape, gpt.empty_cache(batch, 20, policy)) == jax.tree.map(jnp.shape, cache)
        for slot in (10, 11):
            fed = gpt.embed(tokens[:, slot])
            state, cache = gpt.step(fed, cache, jnp.int32(slot), start, policy, weights=weights)
            hidden.append(state)
        return hidden, weights

    compiled = jax.jit(run, static_argnums=0)
    made, expected = compiled(Policy.of_platform(platform)), compiled(PLAIN)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), made, expected)
