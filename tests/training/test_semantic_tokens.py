"""Semantic tokens: their number, what they tell apart, k-means itself, and files that are not to be trusted."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bark_jax.training import DataError, KMeansTokenizer, SemanticTokenizer
from bark_jax.training.kmeans import kmeans, nearest
from bark_jax.training.semantic_tokens import count_tokens, log_mel

from recordings import sweep

RATE, HZ = 8000, 49.9
WAVEFORMS = [sweep(1.0, seed, RATE) for seed in range(8)]


def fit(vocab: int = 16, seed: int = 0) -> KMeansTokenizer:
    return KMeansTokenizer.fit(WAVEFORMS, RATE, vocab, HZ, seed)


@pytest.fixture(scope="module")
def tokenizer() -> SemanticTokenizer:
    return fit()


def tone(hertz: float, rate: int = RATE, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate).astype(np.float32)


@pytest.mark.parametrize("samples", [0, 1, 160, 161, 4001, 8000])
def test_a_token_for_each_whole_fiftieth_of_a_second(tokenizer: SemanticTokenizer, samples: int) -> None:
    tokens = tokenizer(WAVEFORMS[0][:samples], RATE)
    assert (tokens.dtype, tokens.shape) == (np.int32, (count_tokens(samples, RATE, HZ),))
    assert all(0 <= token < tokenizer.vocab for token in tokens)


def test_what_comes_later_changes_no_token_but_the_last(tokenizer: SemanticTokenizer) -> None:
    whole = tokenizer(WAVEFORMS[0], RATE)
    for samples in (1000, 4321):
        tokens = tokenizer(WAVEFORMS[0][:samples], RATE)
        np.testing.assert_array_equal(tokens[:-1], whole[: len(tokens) - 1])


def test_the_same_seed_gives_the_same_clusters() -> None:
    once, again, other = fit(), fit(), fit(seed=1)
    np.testing.assert_array_equal(once.centroids, again.centroids)
    assert not np.array_equal(once.centroids, other.centroids)


def test_tones_have_tokens_of_their_own_at_any_sample_rate(tokenizer: SemanticTokenizer) -> None:
    tones = (300, 900, 1800)
    found = []
    for rate in (RATE, 16_000, 11_025):
        middles = [tokenizer(tone(hertz, rate), rate)[3:-3] for hertz in tones]
        assert all(len(set(middle.tolist())) == 1 for middle in middles)
        found.append([int(middle[0]) for middle in middles])
    assert len(set(found[0])) == len(tones)
    assert found[0] == found[1] == found[2]


def test_silence_is_one_sound() -> None:
    quiet = np.random.default_rng(0).normal(0, 1e-5, RATE).astype(np.float32)
    spectra = log_mel(quiet, RATE, HZ, 49)
    np.testing.assert_allclose(spectra, log_mel(np.zeros_like(quiet), RATE, HZ, 49), atol=0.02)


def test_what_is_saved_is_what_is_read(tokenizer: KMeansTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokens.npz")
    read = KMeansTokenizer.load(tmp_path / "tokens.npz")
    assert (read.vocab, read.rate_hz, read.sample_rate) == (16, HZ, RATE)
    np.testing.assert_array_equal(read(WAVEFORMS[0], RATE), tokenizer(WAVEFORMS[0], RATE))
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.npz"]


def stored(**changes: Any) -> bytes:
    """A file of a tokenizer with other arrays; None leaves one out."""
    sound = {
        "centroids": np.zeros((4, 3), np.float32),
        "mean": np.zeros(3, np.float32),
        "scale": np.ones(3, np.float32),
    }
    arrays = {**sound, "version": 1, "sample_rate": RATE, "rate_hz": HZ, **changes}
    content = io.BytesIO()
    np.savez(content, **{name: value for name, value in arrays.items() if value is not None})
    return content.getvalue()


def claiming(shape: tuple[int, ...]) -> bytes:
    """A file whose centroids claim a shape and hold nothing."""
    npy = io.BytesIO()
    np.lib.format.write_array_header_1_0(npy, {"descr": "<f4", "fortran_order": False, "shape": shape})
    content = io.BytesIO(stored(centroids=None))
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("centroids.npy", npy.getvalue())
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a zip file",
        stored()[:-40],
        stored(centroids=None),
        stored(version=2),
        stored(centroids=np.array([[{}]])),
        stored(centroids=np.zeros((4, 3))),
        stored(centroids=np.full((4, 3), np.nan, np.float32)),
        stored(centroids=np.zeros((4, 2), np.float32)),
        stored(centroids=np.zeros((0, 3), np.float32)),
        stored(centroids=np.float32(1)),
        stored(scale=np.zeros(3, np.float32)),
        stored(sample_rate=0),
        stored(rate_hz=np.inf),
        stored(rate_hz="fast"),
        claiming((2**40, 3)),
    ],
)
def test_files_that_are_no_tokenizer(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"odd\.npz"):
        KMeansTokenizer.load(path)


def test_a_file_that_is_not_there(tmp_path: Path, tokenizer: KMeansTokenizer) -> None:
    with pytest.raises(DataError, match="no such file"):
        KMeansTokenizer.load(tmp_path / "nowhere.npz")
    with pytest.raises(DataError, match="no folder"):
        tokenizer.save(tmp_path / "no" / "folder.npz")
    with pytest.raises(DataError, match=r"must end in \.npz"):
        tokenizer.save(tmp_path / "tokens.json")


@pytest.mark.parametrize("waveform", [np.zeros((2, 800), np.float32), np.full(800, np.nan, np.float32)])
def test_what_is_no_waveform(tokenizer: SemanticTokenizer, waveform: np.ndarray) -> None:
    with pytest.raises(DataError, match="finite samples"):
        tokenizer(waveform, RATE)


def test_too_few_recordings_for_the_vocabulary() -> None:
    with pytest.raises(DataError, match="49 frames, too few for 50"):
        KMeansTokenizer.fit(WAVEFORMS[:1], RATE, 50, HZ)
    with pytest.raises(DataError, match="0 frames"):
        KMeansTokenizer.fit([], RATE, 2, HZ)


def test_clusters_of_points_that_are_far_apart() -> None:
    rng = np.random.default_rng(0)
    centres = 100 * np.eye(6, 8, dtype=np.float32)
    points = np.repeat(centres, 20, axis=0) + rng.normal(0, 1, (120, 8)).astype(np.float32)
    cluster, distance = nearest(points, kmeans(points, 6, rng))
    groups = cluster.reshape(6, 20)
    assert (groups == groups[:, :1]).all()
    assert len(set(groups[:, 0].tolist())) == 6
    assert distance.max() < 8 * 5**2


def test_the_nearest_is_the_nearest() -> None:
    rng = np.random.default_rng(0)
    points, centroids = (rng.normal(0, 1, (n, 5)).astype(np.float32) for n in (50, 7))
    squares = np.square(points[:, None] - centroids).sum(axis=-1)
    cluster, distance = nearest(points, centroids)
    np.testing.assert_array_equal(cluster, squares.argmin(axis=1))
    np.testing.assert_allclose(distance, squares.min(axis=1), rtol=1e-4)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_points_that_are_all_alike(count: int) -> None:
    points = np.ones((10, 4), np.float32)
    np.testing.assert_array_equal(kmeans(points, count, np.random.default_rng(0)), np.ones((count, 4)))
