"""Data for the published models: HuBERT's tokens from a converted folder, by the commands."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch", reason="files of HuBERT are made with PyTorch")

from bark_jax import Bark, BarkConfig, checkpoint
from bark_jax.cli import main
from bark_jax.errors import InputError
from bark_jax.hearing.detection import LAYER, Detector, detect, hubert_features
from bark_jax.hearing.features import hear
from bark_jax.hearing.finding import find_ears, find_hubert, find_tokenizer
from bark_jax.hearing.names import QUANTIZERS, TAGS, is_hubert, language_of
from bark_jax.loading import resolve
from bark_jax.stages.noise import seed_key
from bark_jax.training import KMeansTokenizer, RunConfig, open_tokens
from bark_jax.training.starting import check_semantic_tokens, keep_semantic_tokens

from parity.hubert_weights import TINY, save_hubert, save_quantizer


def test_recordings_become_data_that_a_model_without_clusters_learns(tmp_path: Path) -> None:
    save_hubert(tmp_path / "theirs", **{**TINY, "num_hidden_layers": 9})
    save_quantizer(tmp_path / "q.pth", inputs=48, width=32, vocab=200, version=1)
    ears = str(tmp_path / "ears")
    assert main(["convert", str(tmp_path / "theirs"), ears, "--quantizer", str(tmp_path / "q.pth"), "--quiet"]) == 0
    model = tmp_path / "model"
    Bark.from_config(BarkConfig.tiny(), seed_key(0)).save_pretrained(model)
    (tmp_path / "recordings").mkdir()
    sound = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
    soundfile.write(tmp_path / "recordings" / "a.wav", sound, 24_000)
    (tmp_path / "table.csv").write_text("file,text\na.wav,It is noon.\n")
    arguments = ["data", "prepare", str(tmp_path / "recordings"), "--transcripts", str(tmp_path / "table.csv")]
    data = ["--to", str(tmp_path / "data"), "--model", str(model), "--semantic-tokens", ears, "--quiet"]
    assert main([*arguments, *data]) == 0
    clips = open_tokens(tmp_path / "data", checkpoint.read_config(model))
    stored = soundfile.read(tmp_path / "recordings" / "a.wav", dtype="float32")[0]
    assert len(clips[0].tokens.semantic) == 49
    assert (clips[0].tokens.semantic == find_hubert(ears)(stored, 24_000)[:49]).mean() > 0.9  # stored in 16 bits
    run = RunConfig(model=model, data=tmp_path / "data", run=tmp_path / "run")
    for stage in ("semantic", "coarse"):
        check_semantic_tokens(run, stage, clips)
        keep_semantic_tokens(run, stage, clips)
    assert not list(model.glob("*.npz"))


def test_a_model_is_heard_by_its_own_tokenizer() -> None:
    nano = resolve("nano")
    assert isinstance(find_tokenizer(nano, checkpoint.read_config(nano)), KMeansTokenizer)
    with pytest.raises(InputError, match="200 semantic tokens and no"):
        find_tokenizer(None, BarkConfig.tiny())


def test_languages_are_found_by_name_and_tag() -> None:
    assert language_of("hubert") == "english"
    assert {language_of(f"hubert:{tag}") for tag in TAGS} == set(QUANTIZERS)
    assert language_of("hubert:German") == "german"
    with pytest.raises(InputError, match=r"no quantiser for 'germn'; did you mean german\?: they are english"):
        language_of("hubert:germn")
    assert is_hubert("hubert:de")
    assert not is_hubert("clusters.npz")


@pytest.mark.parametrize("option", ["--dtype=bfloat16", "--verify", "--size=small"])
def test_options_of_bark_are_refused_for_hubert(
    tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["convert", "facebook/hubert-base-ls960", str(tmp_path / "out"), option]
    assert main(arguments) == 4
    assert "is not for HuBERT" in capsys.readouterr().err


def test_features_for_detection_are_the_mean_over_time(tmp_path: Path) -> None:
    """HuBERT without a quantiser will do."""
    save_hubert(tmp_path / "theirs", **{**TINY, "num_hidden_layers": 9})
    assert main(["convert", str(tmp_path / "theirs"), str(tmp_path / "ears"), "--quiet"]) == 0
    ears, sound = find_ears(tmp_path / "ears"), np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
    mean = hubert_features(sound, hubert=tmp_path / "ears")
    expected = np.concatenate(list(hear(ears.hubert, sound, LAYER)))
    np.testing.assert_allclose(mean, expected.mean(axis=0, dtype=np.float64), rtol=1e-6)
    detector = Detector(features="hubert", mean=mean, scale=np.ones(len(mean)), weights=mean, bias=1.0)
    assert detect((sound, 16_000), detector, hubert=tmp_path / "ears").probability == pytest.approx(
        1 / (1 + np.exp(-1))
    )
