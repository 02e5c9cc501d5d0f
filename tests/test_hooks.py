"""Hooks in the stages: processors of logits, samplers, outputs of every step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from bark_jax import Bark
from bark_jax.measuring import compilations
from bark_jax.settings import SettingsError
from bark_jax.stages.hooks import LogitsState
from bark_jax.stages.processors import ClassifierFreeGuidance, RepetitionPenalty

from two_processes import CONFIG

SHORT: dict[str, Any] = {"seed": 3, "max_seconds": 0.4, "allow_early_stop": False}
TOKENS = 19  # of 0.4 s


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(CONFIG, jax.random.key(0))


def unchanged(logits: Array, state: LogitsState) -> Array:
    """A processor that only looks whether it is given what is documented."""
    assert logits.dtype == jnp.float32
    if state.stage == "fine":
        assert state.tokens.shape == (1, CONFIG.codec.codebooks, CONFIG.fine.gpt.block_size)
        assert logits.shape == (1, CONFIG.fine.gpt.block_size, CONFIG.codec.codebook_size)
    else:
        ids = CONFIG.semantic.vocab + 1 if state.stage == "semantic" else CONFIG.codec.codebook_size
        assert logits.shape == (1, ids)
        assert state.tokens.ndim == 2
    return logits + 0 * state.tokens.max().astype(jnp.float32)


def only_even(logits: Array, state: LogitsState) -> Array:
    return jnp.where(jnp.arange(logits.shape[-1]) % 2 == 0, logits, -jnp.inf)


def not_the_last(logits: Array, state: LogitsState) -> Array:
    """Never the token before, of the same codebook."""
    back = state.codebooks
    last = jnp.where(state.step >= back, state.tokens[:, jnp.maximum(state.step - back, 0)], -1)
    return jnp.where(jnp.arange(logits.shape[1]) == last[:, None], -jnp.inf, logits)


def most_probable(keys: Array, logits: Array) -> Array:
    return logits.argmax(axis=1).astype(jnp.int32)


def test_hooks_that_change_nothing_change_nothing_and_outputs_fit_the_tokens(bark: Bark) -> None:
    """The log-probabilities of the semantic stage are those of scoring, in one pass without a cache."""
    plain = bark.generate("Hello", **SHORT)
    assert plain.outputs == {}
    stages = ("semantic", "coarse", "fine")
    hooked = bark.generate(
        "Hello", **SHORT, logits_processors=dict.fromkeys(stages, unchanged),
        outputs={"log_probabilities", "hidden", "attention"},
    )  # fmt: skip
    assert hooked == plain
    for stage, width in (("semantic", 32), ("coarse", 32), ("fine", 32)):
        tokens, outputs = getattr(plain, stage), hooked.outputs[stage]
        assert outputs["log_probabilities"].shape == tokens.shape
        assert (outputs["log_probabilities"] <= 0).all()
        assert outputs["hidden"].shape == (*tokens.shape, width)
    assert (hooked.outputs["fine"]["log_probabilities"][: len(plain.coarse)] == 0).all()  # they were given
    assert (hooked.outputs["fine"]["log_probabilities"][len(plain.coarse) :] < 0).all()
    for stage, length in (("semantic", 257), ("coarse", 257)):
        weights = hooked.outputs[stage]["attention"]
        assert weights.shape[:-1] == (*getattr(plain, stage).shape, 1, CONFIG.semantic.gpt.heads)
        np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)
        first = weights.reshape(-1, *weights.shape[-3:])[0]
        assert (first[..., length:] == 0).all()  # no token sees what comes after it
    options = bark.frontend.options("none", 3, None)
    (score,) = bark.engine.score_semantic([bark.frontend.encode("Hello")], [plain.semantic], [options])
    assert score == pytest.approx(hooked.outputs["semantic"]["log_probabilities"].mean(), rel=1e-4)


def test_equal_hooks_share_programs_and_without_any_nothing_is_compiled(bark: Bark) -> None:
    bark.generate("Hello", **SHORT)
    bark.generate("Hello", **SHORT, logits_processors=RepetitionPenalty(1.5))
    with compilations() as compiled:
        bark.generate("Hello", **SHORT)
        bark.generate("Hello", **SHORT, logits_processors=RepetitionPenalty(1.5))
    assert compiled == []


def test_processors_are_applied_in_every_stage(bark: Bark) -> None:
    clip = bark.generate("Hello", **SHORT, logits_processors=dict.fromkeys(("semantic", "coarse", "fine"), only_even))
    assert len(clip.semantic) == TOKENS
    for tokens in clip.tokens:
        assert (tokens % 2 == 0).all()


def test_processors_see_what_was_made_before(bark: Bark) -> None:
    greedy = {"semantic_temperature": 0, "coarse_temperature": 0, "min_eos_p": None}
    clip = bark.generate("Hello", **SHORT, **greedy, logits_processors=not_the_last)
    assert (clip.semantic[1:] != clip.semantic[:-1]).all()
    assert (clip.coarse[:, 1:] != clip.coarse[:, :-1]).all()


def test_a_sampler_takes_the_place_of_the_draw(bark: Bark) -> None:
    ours = bark.generate("Hello", **SHORT, sampler=dict.fromkeys(("semantic", "coarse", "fine"), most_probable))
    greedy = bark.generate("Hello", **SHORT, semantic_temperature=0, coarse_temperature=0, fine_temperature=0)
    assert ours == greedy


def test_a_repetition_penalty_repeats_less(bark: Bark) -> None:
    """Greedy, so strong a penalty takes every token once."""
    greedy = {"semantic_temperature": 0, "min_eos_p": None, "max_seconds": 1, "seed": 0, "allow_early_stop": False}
    with_penalty = bark.generate("Hello", **greedy, logits_processors={"semantic": RepetitionPenalty(1e4)})
    assert len(np.unique(with_penalty.semantic)) == len(with_penalty.semantic)


def state_of(tokens: list[int], room: int = 6, **changes: Any) -> LogitsState:
    padded = jnp.array([[*tokens, *[-1] * (room - len(tokens))]])
    return LogitsState(stage="semantic", step=jnp.int32(len(tokens)), tokens=padded, codebook=0, codebooks=1)._replace(
        **changes
    )


@pytest.mark.parametrize(
    ("penalty", "state", "expected"),
    [
        (RepetitionPenalty(2), state_of([]), [4, -4, 2, -2]),
        (RepetitionPenalty(2), state_of([0, 1]), [2, -8, 2, -2]),
        (RepetitionPenalty(2, steps=1), state_of([0, 1]), [4, -8, 2, -2]),
        (RepetitionPenalty(2), state_of([0, 3, 2], codebook=1, codebooks=2), [4, -4, 2, -4]),
    ],
)
def test_the_repetition_penalty_by_hand(penalty: RepetitionPenalty, state: LogitsState, expected: list[float]) -> None:
    np.testing.assert_allclose(penalty(jnp.array([[4.0, -4.0, 2.0, -2.0]]), state), [expected])


def test_guidance_by_hand() -> None:
    logits = jnp.log(jnp.array([[0.5, 0.5, 0], [0.25, 0.75, 0]]))
    guided = np.exp(ClassifierFreeGuidance(2.0)(logits, state_of([])))
    np.testing.assert_allclose(guided, [[1, 1 / 3, 0]] * 2, rtol=1e-6)


def test_guidance_of_a_pair(bark: Bark) -> None:
    """Both items are the guided clip; a scale of 1 is the wanted text, and of 0 the other."""
    options = {**SHORT, "max_seconds": 1, "semantic_temperature": 0.01}  # random weights heed a text but little
    texts = ["One.", "Three hundred"]
    alone = bark.generate(texts, **options)
    assert not np.array_equal(alone[0].semantic, alone[1].semantic)
    for scale, expected in ((1.0, alone[0]), (0.0, alone[1]), (4.0, None)):
        pair = bark.generate(texts, **options, logits_processors={"semantic": ClassifierFreeGuidance(scale)})
        np.testing.assert_array_equal(pair[0].semantic, pair[1].semantic)
        if expected is not None:
            np.testing.assert_array_equal(pair[0].semantic, expected.semantic)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": {"logits"}}, "unknown outputs logits: choose from log_probabilities, hidden, attention"),
        ({"logits_processors": {"codec": unchanged}}, "no stage codec"),
        ({"logits_processors": [3]}, "must be a function, not 3"),
        ({"sampler": "greedy"}, "must be a function, not 'greedy'"),
        ({"logits_processors": lambda logits, state: logits[:, 1:]}, r"returns float32 \[1, 200\] for"),
        ({"logits_processors": ClassifierFreeGuidance(2.0)}, "pairs of items, not 1"),
    ],
)
def test_bad_hooks_are_named(bark: Bark, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        bark.generate("Hello", **SHORT, **options)


def test_functions_without_a_hash_are_refused(bark: Bark) -> None:
    class Unhashable:
        __hash__: Callable[[], int] | None = None  # type: ignore[assignment]

        def __call__(self, logits: Array, state: LogitsState) -> Array:
            return logits

    with pytest.raises(SettingsError, match="must be hashable"):
        bark.generate("Hello", **SHORT, logits_processors=Unhashable())
