"""Semantic tokens mean something only to the model that learned them: data and models are compared before training."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bark_jax import checkpoint
from bark_jax.hub import NANO
from bark_jax.loading import resolve
from bark_jax.training import KMeansTokenizer, RunConfig, TrainingError, open_audio, open_tokens, run_training
from bark_jax.training.prepare import Preparation, prepare
from bark_jax.training.semantic_tokens import CLUSTERS
from bark_jax.training.starting import check_semantic_tokens, keep_semantic_tokens

from recordings import write_table

OWN = KMeansTokenizer.load(resolve(NANO) / CLUSTERS)


def tokenizer(seed: int = 0) -> KMeansTokenizer:
    """Of nano's size, and other clusters."""
    centroids = np.random.default_rng(seed).normal(0, 1, OWN.centroids.shape).astype(np.float32)
    return KMeansTokenizer(
        centroids=centroids, mean=OWN.mean, scale=OWN.scale, sample_rate=OWN.sample_rate, rate_hz=OWN.rate_hz
    )


class Clips(list[object]):
    """What is prepared with a tokenizer, as far as the checks look."""

    def __init__(self, made_with: KMeansTokenizer) -> None:
        super().__init__()
        self.semantic_tokens = made_with.fingerprint


def config(folder: Path, start: str | None = None) -> RunConfig:
    return RunConfig(model=folder / "model", data=folder / "data", run=folder / "run", start=start)


def test_data_for_nano_are_made_with_its_own_clusters(tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    rate = OWN.sample_rate
    sound = np.random.default_rng(0).normal(0, 0.1, rate).astype(np.float32)
    soundfile.write(tmp_path / "recordings" / "a.wav", sound, rate)
    table = write_table(tmp_path / "table.csv", [{"file": "a", "text": "It is noon."}])
    prepare(
        Preparation(
            recordings=tmp_path / "recordings", transcripts=table, to=tmp_path / "data", model=resolve(NANO), seed=3
        )
    )
    model = checkpoint.read_config(resolve(NANO))
    waveform, clips = open_audio(tmp_path / "data", model)[0], open_tokens(tmp_path / "data", model)
    np.testing.assert_array_equal(clips[0].tokens.semantic, OWN(waveform, rate))
    assert clips.semantic_tokens == OWN.fingerprint
    check_semantic_tokens(config(tmp_path, NANO), "semantic", clips)


@pytest.mark.parametrize("stage", ["semantic", "coarse"])
def test_other_tokens_than_the_model_learned_are_refused(tmp_path: Path, stage: str) -> None:
    with pytest.raises(TrainingError, match=r"are of other clusters than .*prepare the data again with --model nano"):
        check_semantic_tokens(config(tmp_path, NANO), stage, Clips(tokenizer()))
    check_semantic_tokens(config(tmp_path, NANO), stage, Clips(OWN))
    check_semantic_tokens(config(tmp_path, NANO), "fine", Clips(tokenizer()))


def test_the_refusal_comes_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="are of other clusters than"):
        run_training(config(tmp_path, NANO), "semantic", clips=Clips(tokenizer()))
    assert list(tmp_path.iterdir()) == []


def published(folder: Path) -> Path:
    """All the networks, and nothing about their semantic tokens."""
    shutil.copytree(resolve(NANO), folder, ignore=shutil.ignore_patterns(CLUSTERS))
    return folder


@pytest.mark.parametrize(
    ("make", "refused"),
    [
        (lambda folder: config(folder, str(published(folder / "start"))), ["semantic", "coarse"]),
        (lambda folder: (published(folder / "model"), config(folder))[1], ["semantic", "coarse"]),
        (lambda folder: config(folder), []),
    ],
)
def test_a_model_whose_tokens_nobody_can_make(
    tmp_path: Path, make: Callable[[Path], RunConfig], refused: list[str]
) -> None:
    run = make(tmp_path)
    for stage in ("semantic", "coarse", "fine", "codec"):
        if stage in refused:
            with pytest.raises(TrainingError, match=r"has no semantic_tokens\.npz: .* never released.*such as nano"):
                check_semantic_tokens(run, stage, Clips(OWN))
        else:
            check_semantic_tokens(run, stage, Clips(OWN))
        check_semantic_tokens(run, stage, [])  # tokens of one's own: a model's speech, for one


def test_a_model_keeps_the_tokenizer_that_its_networks_learned(tmp_path: Path) -> None:
    run = config(tmp_path)
    for folder in (run.model, run.data):
        folder.mkdir()
    OWN.save(run.data / CLUSTERS)
    for stage, kept in (("fine", False), ("coarse", True), ("semantic", True)):
        keep_semantic_tokens(run, stage, Clips(OWN))
        assert (run.model / CLUSTERS).exists() == kept
    check_semantic_tokens(run, "semantic", Clips(OWN))
    with pytest.raises(TrainingError, match="are of other clusters than"):
        check_semantic_tokens(run, "semantic", Clips(tokenizer()))


def test_a_tokenizer_that_did_not_make_the_tokens_is_not_kept(tmp_path: Path) -> None:
    run = config(tmp_path)
    run.model.mkdir()
    run.data.mkdir()
    tokenizer().save(run.data / CLUSTERS)
    with pytest.raises(TrainingError, match="did not make the tokens beside it"):
        keep_semantic_tokens(run, "semantic", Clips(OWN))
    assert not (run.model / CLUSTERS).exists()


def test_fingerprints_differ_with_what_changes_tokens() -> None:
    assert tokenizer().fingerprint == tokenizer().fingerprint != tokenizer(1).fingerprint
