"""The sampler against a plain float64 statement of Suno's rules: exact probabilities, then draws."""

import dataclasses
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bark_jax.policy import PLAIN
from bark_jax.settings import Settings
from bark_jax.stages.noise import fold_keys
from bark_jax.stages.sampling import Sampling, filter_logits, probabilities, sample
from bark_jax.stages.semantic import apply_stop_rule

TEMPERATURES = (0.0, 0.1, 0.7, 1.0, 2.0)
TOP_KS = (None, 1, 2, 5, 24, 1000)
TOP_PS = (None, 1e-6, 0.3, 0.9, 1.0)
RULES = list(itertools.product(TEMPERATURES, TOP_KS, TOP_PS))
VOCAB = 24
INF = np.inf

filter_rows, distribution, draw_rows = jax.jit(filter_logits), jax.jit(probabilities), jax.jit(sample)


def softmax(x: np.ndarray) -> np.ndarray:
    weights = np.exp(x - x.max())
    return weights / weights.sum()


def suno_probabilities(logits: np.ndarray, temperature: float, top_k: int | None, top_p: float | None) -> np.ndarray:
    """The distribution over one row of logits [V]: top-p, then top-k, then temperature; 0 is greedy."""
    logits = np.array(logits, np.float64)
    if top_p is not None:
        order = np.argsort(logits, kind="stable")[::-1]  # of equal logits the last comes first
        cumulative = np.minimum(np.cumsum(softmax(logits[order])), 1)
        passed_before = np.append(False, cumulative[:-1] > top_p)
        logits[order[passed_before]] = -np.inf
    if top_k is not None:
        logits[logits < np.sort(logits)[-min(top_k, len(logits))]] = -np.inf
    if temperature == 0:
        return np.eye(len(logits))[np.argmax(logits)]
    return softmax(logits / temperature)


def sampling(*rules: tuple[float, int | None, float | None]) -> Sampling:
    """One row per (temperature, top-k, top-p)."""
    settings = [Settings(semantic_temperature=t, semantic_top_k=k, semantic_top_p=p) for t, k, p in rules]
    return Sampling.of(settings, "semantic")


def example_rows() -> np.ndarray:
    """Float32 logits [9, V]: smooth, with many ties, with impossible tokens, flat, and decided."""
    rng = np.random.default_rng(0)
    smooth = 3 * rng.standard_normal((2, VOCAB))
    tied = np.round(2 * rng.standard_normal((3, VOCAB)))
    impossible = np.where(rng.random((2, VOCAB)) < 0.4, -INF, np.round(2 * smooth) / 2)
    flat = np.zeros((1, VOCAB))
    decided = np.where(np.arange(VOCAB) == 7, 50.0, 0.0)[None]
    return np.concatenate([smooth, tied, impossible, flat, decided]).astype(np.float32)


def assert_distribution(logits: np.ndarray, rules: list[tuple[float, int | None, float | None]]) -> None:
    """Row i of the logits under rule i: the same tokens are possible, with the same probabilities."""
    expected = np.stack([suno_probabilities(row, *rule) for row, rule in zip(logits, rules, strict=True)])
    batch = sampling(*rules)
    np.testing.assert_array_equal(np.isfinite(filter_rows(logits, batch)), expected > 0)
    np.testing.assert_allclose(distribution(logits, batch), expected, rtol=3e-5, atol=1e-30)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("top_k", TOP_KS)
@pytest.mark.parametrize("top_p", TOP_PS)
def test_every_combination_of_rules(temperature: float, top_k: int | None, top_p: float | None) -> None:
    rows = example_rows()
    assert_distribution(rows, [(temperature, top_k, top_p)] * len(rows))


@pytest.mark.parametrize("row", range(len(example_rows())))
def test_rows_of_a_batch_keep_their_own_rules(row: int) -> None:
    assert_distribution(np.tile(example_rows()[row], (len(RULES), 1)), RULES)


def test_published_vocabulary() -> None:
    rules = [(0.7, 50, None), (0.7, None, 0.9), (1.0, 50, 0.95), (0.7, None, None), (0.0, 50, 0.9)]
    logits = 2.5 * np.random.default_rng(1).standard_normal((len(rules), 10_001))
    assert_distribution(logits.astype(np.float32), rules)


@pytest.mark.parametrize(
    ("logits", "top_k", "top_p", "kept"),
    [
        ([3, 1, 2, 2, 0], 2, None, [0, 2, 3]),  # all that equal the k-th stay
        ([1, 1, 1, 1, 0], 1, None, [0, 1, 2, 3]),
        ([0, 0, 0, 0], None, 0.49, [2, 3]),  # of equals the last come first; the one that passes p stays
        ([0, 0, 0, 0], None, 0.5, [1, 2, 3]),  # reaching p is not passing it
        ([0, 0, 0, 0], None, 1e-6, [3]),
        ([0, 9, 0, 9], None, 1e-6, [3]),
        ([0.0, -0.0, 0.0, -0.0], None, 0.5, [1, 2, 3]),  # both zeros are one logit
        ([-0.0, 0.0, -1, -1], 1, None, [0, 1]),
        ([0, 0, 0, 0], 1, 0.5, [1, 2, 3]),  # top-k sees what top-p left
        ([2, 0, -INF, -INF], 3, None, [0, 1]),  # what is impossible stays so, whatever k
        ([2, -INF, -INF, -INF], None, 1.0, [0]),
    ],
)
def test_ties_and_boundaries(logits: list[float], top_k: int | None, top_p: float | None, kept: list[int]) -> None:
    rule = (1.0, top_k, top_p)
    row = np.array([logits], np.float32)
    assert np.flatnonzero(suno_probabilities(row[0], *rule)).tolist() == kept
    assert np.flatnonzero(distribution(row, sampling(rule))[0]).tolist() == kept


def test_zero_temperature_takes_the_first_maximum_of_what_is_left() -> None:
    logits = jnp.array([[1.0, 4.0, 4.0, 0.0]])
    assert draw_rows(jax.random.split(jax.random.key(0), 1), logits, sampling((0.0, None, None))).tolist() == [1]
    assert draw_rows(jax.random.split(jax.random.key(0), 1), logits, sampling((0.0, None, 1e-6))).tolist() == [2]


def test_extreme_temperatures() -> None:
    logits = jnp.array([[1.0, 90.0, -90.0, -INF]])
    cold, hot = (distribution(logits, sampling((temperature, None, None)))[0] for temperature in (1e-40, 1e6))
    np.testing.assert_array_equal(cold, [0, 1, 0, 0])
    np.testing.assert_allclose(hot, [1 / 3, 1 / 3, 1 / 3, 0], rtol=1e-3)


@pytest.mark.parametrize("rule", [(1.0, None, None), (0.7, 5, None), (0.7, None, 0.6), (2.0, 5, 0.9)])
def test_draws_follow_the_distribution(rule: tuple[float, int | None, float | None]) -> None:
    count = 20_000
    row = example_rows()[2]
    logits = jnp.broadcast_to(jnp.asarray(row), (count, VOCAB))
    drawn = draw_rows(jax.random.split(jax.random.key(1), count), logits, sampling(*[rule] * count))
    expected = count * suno_probabilities(row, *rule)
    observed = np.bincount(drawn, minlength=VOCAB)
    possible = expected > 0
    assert observed[~possible].sum() == 0
    freedom = possible.sum() - 1
    chi_square = np.sum((observed - expected)[possible] ** 2 / expected[possible])
    assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)


def test_a_draw_depends_on_the_key_of_its_row_alone() -> None:
    keys = jax.random.split(jax.random.key(0), 64)
    logits = jnp.zeros((64, 1000))
    rules = sampling(*[(1.0, None, None)] * 64)
    drawn = draw_rows(keys, logits, rules)
    assert len(np.unique(drawn)) > 50
    np.testing.assert_array_equal(draw_rows(keys[::-1], logits, rules), drawn[::-1])
    assert draw_rows(keys[5:6], logits[:1], sampling((1.0, None, None))) == drawn[5]


def test_folded_keys_differ_by_row_and_step() -> None:
    keys = jax.random.split(jax.random.key(0), 4)
    data = np.concatenate([jax.random.key_data(fold_keys(keys, step)) for step in range(3)])
    assert len(np.unique(data, axis=0)) == 12


def ends(filtered: list[float], token: int, min_eos_p: float) -> bool:
    """Whether the stop rule ends a row; the last logit is that of the end of sequence."""
    row = jnp.array([filtered], jnp.float32)
    return bool(apply_stop_rule(row, jnp.array([token], jnp.int32), jnp.array([min_eos_p], jnp.float32))[0])


@pytest.mark.parametrize(
    ("filtered", "token", "min_eos_p", "end"),
    [
        ([0, 0, 0, 0], 0, 0.25, True),  # P(end) is exactly 1/4, and reaching the threshold is enough
        ([0, 0, 0, 0], 0, np.nextafter(np.float32(0.25), np.float32(1)), False),
        ([0, 0, 0, -1e-6], 0, 0.25, False),
        ([0, 0, 0, 1e-6], 0, 0.25, True),
        ([0, 0, 0, -9], 3, 1.0, True),  # drawn
        ([0, 0, 0, 0], 3, INF, True),  # drawn, no threshold
        ([-INF, -INF, -INF, 5], 2, INF, False),  # not drawn, no threshold
        ([-INF, -INF, -INF, 5], 2, 1.0, True),
        ([0, 0, 0, -INF], 0, 1e-9, False),  # filtered out
    ],
)
def test_stop_rule(filtered: list[float], token: int, min_eos_p: float, end: bool) -> None:
    assert ends(filtered, token, min_eos_p) is end


@pytest.mark.parametrize(
    ("rule", "end"),
    [
        ((1.0, None, None), True),  # P(end) is 0.3
        ((0.5, None, None), False),  # tempered: 0.155
        ((2.0, None, None), True),
        ((1.0, 1, None), False),  # removed by top-k
        ((1.0, None, 0.5), False),  # removed by top-p
        ((0.0, None, None), False),  # greedy: not the most probable
    ],
)
def test_stop_rule_sees_the_distribution_drawn_from(rule: tuple[float, int | None, float | None], end: bool) -> None:
    logits = jnp.log(jnp.array([[0.7, 0.3]], jnp.float32))
    assert ends(filter_rows(logits, sampling(rule))[0].tolist(), 0, 0.2) is end


def test_passes_of_several_bits_find_the_same_thresholds() -> None:
    rows = example_rows()
    several = jax.jit(partial(filter_logits, policy=dataclasses.replace(PLAIN, threshold_bits=4)))
    for rule in RULES:
        own = sampling(*[rule] * len(rows))
        np.testing.assert_array_equal(several(rows, own), filter_rows(rows, own), err_msg=str(rule))
