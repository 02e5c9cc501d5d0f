"""The codec's training: straight-through gradients, codebooks that follow averages, spectra, and a loss that falls."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bark_jax.models.encodec import Encodec
from bark_jax.models.parameters import map_parameters
from bark_jax.training import CodecTraining, sample_codebooks
from bark_jax.training.codec import (
    Assignments,
    Codebooks,
    codec_loss,
    draw_depths,
    mel_filters,
    mel_spectrum,
    quantize,
    spectral_distance,
    start_codebooks,
    update_codebooks,
)
from bark_jax.training.step import CODEBOOKS

from small import CONFIG, SAMPLES, assert_same, make_trainer, networks, random_batch

RATE = CONFIG.codec.sample_rate
COUNT, SIZE, WIDTH = CONFIG.codec.codebooks, CONFIG.codec.codebook_size, CONFIG.codec.width
BATCH = random_batch("codec")
QUANTIZE = jax.jit(quantize)
ENCODE = jax.jit(lambda codec, waveform: codec.encoder(waveform[..., None]))


@pytest.fixture(scope="module")
def codec() -> Encodec:
    return networks()["codec"]


def with_codebooks(codec: Encodec, table: jax.Array) -> Encodec:
    return map_parameters(lambda path, x: table if path == CODEBOOKS else x, codec)


def normal(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def test_gradients_pass_straight_through(codec: Encodec) -> None:
    latents, wanted = normal(2, 5, WIDTH), normal(2, 5, WIDTH, seed=1)

    def read(latents: jax.Array) -> jax.Array:
        depth, counted = jnp.array([3, COUNT]), jnp.ones(2)
        return (wanted * QUANTIZE(codec.quantizer, latents, depth, counted, jax.random.key(0)).latents).sum()

    np.testing.assert_array_equal(jax.grad(read)(latents), wanted)


def test_the_reconstruction_reaches_the_encoder_and_no_loss_the_codebooks(codec: Encodec) -> None:
    rules = CodecTraining(windows=(16,), commitment_weight=0)

    def loss(codec: Encodec) -> jax.Array:
        return codec_loss(codec, RATE, rules, BATCH, jax.random.key(0))[0].total

    gradients = jax.jit(jax.grad(loss))(codec)
    assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients.encoder))
    assert (gradients.quantizer.codebooks[...] == 0).all()


def test_dropped_codebooks_take_no_part(codec: Encodec) -> None:
    """Rows are sums of their first codewords, commitments of their own distances, assignments of what counts."""
    latents, depth = normal(3, 4, WIDTH), np.array([1, 5, COUNT])
    found = QUANTIZE(codec.quantizer, latents, jnp.asarray(depth), jnp.array([1.0, 1.0, 0.0]), jax.random.key(0))
    codes, table = np.asarray(codec.quantizer.encode(latents)), np.asarray(codec.quantizer.codebooks[...])
    for row, count in enumerate(depth):
        kept = np.cumsum(table[np.arange(count)[:, None], codes[row, :count]], axis=0)
        np.testing.assert_allclose(found.latents[row], kept[-1], atol=1e-5)
        distance = np.square(np.asarray(latents[row]) - kept).mean(axis=(1, 2)).sum()
        np.testing.assert_allclose(found.commitment[row], distance, rtol=1e-5)
    rows = (depth[:2, None] > np.arange(COUNT)).sum(axis=0)
    np.testing.assert_array_equal(found.assignments.counts.sum(axis=1), 4 * rows)


def test_depths() -> None:
    assert (draw_depths(jax.random.key(0), 50, 8, 0.0) == 8).all()
    assert set(draw_depths(jax.random.key(0), 500, 8, 1.0).tolist()) == set(range(1, 9))
    assert 0.3 < np.mean(draw_depths(jax.random.key(0), 500, 8, 0.5) < 8) < 0.6


def assignments() -> Assignments:
    """Of one microbatch: two codebooks of three codewords of width 2, nothing in the second."""
    counts = jnp.asarray(np.array([[[4, 0, 2], [0, 0, 0]]], np.float32))
    return Assignments(counts, normal(1, 2, 3, 2), normal(1, 2, 3, 2, seed=1))


def test_codebooks_follow_moving_averages() -> None:
    rules, before = CodecTraining(codebook_decay=0.9), start_codebooks(normal(2, 3, 2, seed=2))
    parts = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), assignments(), assignments())  # two microbatches
    after = update_codebooks(before, parts, rules)
    counts, sums = np.array([8, 0, 4]), 2 * np.asarray(assignments().sums)[0, 0]
    use = 0.9 + 0.1 * counts / 4  # a codeword was chosen 4 times on average
    total = 0.9 * np.asarray(before.sums)[0] + 0.1 * sums / 4
    np.testing.assert_allclose(after.use[0], use, rtol=1e-6)
    np.testing.assert_allclose(after.table[0], total / use[:, None], rtol=1e-5)
    assert_same(jax.tree.map(lambda x: x[1], after), jax.tree.map(lambda x: x[1], before))


def test_dead_codewords_are_restarted_with_vectors_of_the_batch() -> None:
    before, parts = Codebooks(normal(2, 3, 2), jnp.full((2, 3), 0.1), normal(2, 3, 2)), assignments()
    after = update_codebooks(before, parts, CodecTraining(codebook_decay=0.9, dead_use=0.2))
    np.testing.assert_array_equal(after.table[0, 1], parts.samples[0, 0, 1])
    np.testing.assert_array_equal(after.use[0, 1], 1)
    np.testing.assert_allclose(after.table[0, 0], after.sums[0, 0] / after.use[0, 0], rtol=1e-6)
    assert after.use[0, 0] < 1


def test_samples_are_what_each_codebook_quantised(codec: Encodec) -> None:
    latents = normal(2, 5, WIDTH)
    found = QUANTIZE(codec.quantizer, latents, jnp.full(2, COUNT), jnp.ones(2), jax.random.key(0)).assignments
    first = np.asarray(latents).reshape(-1, WIDTH)
    quantised = codec.quantizer.decode(codec.quantizer.encode(latents)[:, :1])
    second = first - np.asarray(quantised).reshape(-1, WIDTH)
    for rest, samples in ((first, found.samples[0]), (second, found.samples[1])):
        assert all(np.isclose(rest, sample, atol=1e-6).all(axis=1).any() for sample in np.asarray(samples))


def test_sampled_codebooks_divide_the_latents_better_than_random_ones(codec: Encodec) -> None:
    latents = ENCODE(codec, BATCH.waveform)

    def rest(codec: Encodec) -> float:
        return float(jnp.square(codec.quantizer.decode(codec.quantizer.encode(latents)) - latents).mean())

    sampled = with_codebooks(codec, sample_codebooks(codec, BATCH.waveform, jax.random.key(0)))
    assert rest(sampled) < 0.1 * rest(codec)


@pytest.mark.parametrize("window", [32, 128])
def test_spectra(window: int) -> None:
    """A tone stands in its band; between the outermost peaks every frequency is shared out whole."""
    hz = 75
    tone = np.sin(2 * np.pi * hz * np.arange(640) / RATE).astype(np.float32)[None]
    spectrum = mel_spectrum(jnp.asarray(tone), RATE, window)
    filters = mel_filters(RATE, window, spectrum.shape[2])
    assert spectrum.shape[1] == 640 // (window // 4) + 1
    assert spectrum[0, 5].argmax() == filters[round(hz * window / RATE)].argmax()
    inner = slice(filters[:, 0].argmax() + 1, filters[:, -1].argmax())
    np.testing.assert_allclose(filters[inner].sum(axis=1), 1, rtol=1e-5)


def test_the_spectral_distance_is_zero_only_for_the_same() -> None:
    x, y = jnp.asarray(BATCH.waveform), 0.5 * jnp.asarray(BATCH.waveform)
    distance = jax.jit(lambda x, y: spectral_distance(x, y, RATE, (16, 64), 1e-5))
    np.testing.assert_allclose(distance(x, x), 0, atol=1e-10)
    assert (distance(x, y) > 0.05).all()
    faint = 1e-4 * x
    assert (spectral_distance(faint, 0 * x, RATE, (16, 64), 1e-1) < 1e-3 * distance(faint, 0 * x)).all()
    gradient = jax.jit(jax.grad(lambda x: distance(x, y).sum()))(jnp.zeros_like(x))
    assert jnp.isfinite(gradient).all()  # of silence, where magnitudes have no slope of their own


def test_the_loss_falls_and_the_network_has_the_new_codebooks(codec: Encodec) -> None:
    codec = with_codebooks(codec, sample_codebooks(codec, BATCH.waveform, jax.random.key(1)))
    trainer = make_trainer("codec")
    state, frozen = trainer.start(codec)
    first = float(trainer.evaluate(state, frozen, BATCH).mean)
    for _ in range(trainer.train.steps):
        state, metrics = trainer.step(state, frozen, BATCH)
    metrics.check()
    assert set(metrics.parts) == {"waveform", "spectral", "commitment"}
    assert float(trainer.evaluate(state, frozen, BATCH).mean) < 0.5 * first
    trained: Any = trainer.network(state, frozen)
    np.testing.assert_array_equal(trained.quantizer.codebooks[...], state.codebooks.table)
    assert trained.decode(trained.encode(BATCH.waveform)).shape == (4, SAMPLES)
    assert (codec.quantizer.codebooks[...] != state.codebooks.table).any()
