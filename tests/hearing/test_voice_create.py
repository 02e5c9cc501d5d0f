"""`bark-jax voices create` and `Bark.voice_from`, with nano: from end to end, without a network."""

from pathlib import Path

import numpy as np
import pytest

from bark_jax import Bark, Voice
from bark_jax.audio import write_audio
from bark_jax.hearing.cloning import CONSENT, RecordingError, RecordingWarning
from bark_jax.training import KMeansTokenizer
from bark_jax.voices.library import NANO_VOICES

from test_cli import run


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_pretrained("nano")


@pytest.fixture(scope="module")
def recording(bark: Bark, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adam, after some silence, at another rate."""
    path = tmp_path_factory.mktemp("recordings") / "adam.wav"
    voice = bark.find_voice("adam")
    assert voice is not None
    write_audio(path, np.pad(bark.decode(voice.fine), (8000, 8000)), bark.config.codec.sample_rate)
    return path


def test_a_recording_becomes_a_voice_that_speaks(
    bark: Bark, recording: Path, library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(capsys, "voices", "create", str(recording), "me", "--model", "nano", "--language", "en")
    assert code == 0
    assert "adam.wav: 0." in err
    voice = Voice.load(library / "me.npz", bark.config)
    assert voice.metadata.source == "recording"
    assert len(voice.metadata.recording or "") == 64
    assert voice.metadata.model == "nano"
    assert voice.metadata.language == "en"
    assert 80 <= len(voice.semantic) <= 160
    assert len(bark.generate("It is cold.", voice="me", seed=1, max_seconds=0.5).waveform)
    code, out, _ = run(capsys, "voices", "show", "me")
    assert "recording" in out
    assert run(capsys, "voices", "create", str(recording), "me", "--model", "nano")[0] == 2
    assert run(capsys, "voices", "create", str(recording), "adam", "--model", "nano")[0] == 2


def test_its_tokens_are_those_of_the_models_parts(bark: Bark, recording: Path) -> None:
    with pytest.warns(RecordingWarning, match="it is short"):
        voice = bark.voice_from(recording, start=0.5, end=3.5)
    from bark_jax.hearing.cloning import listen

    heard = listen(recording, bark.config.codec.sample_rate, start=0.5, end=3.5)
    clusters = KMeansTokenizer.load(NANO_VOICES.parent / "semantic_tokens.npz")
    tokens = clusters(heard.waveform, bark.config.codec.sample_rate)
    np.testing.assert_array_equal(voice.semantic, tokens[: len(voice.semantic)])
    np.testing.assert_array_equal(voice.fine, bark.encode(heard.waveform)[:, : voice.fine.shape[1]])
    assert abs(len(tokens) - len(voice.semantic)) <= 1


def test_refusals_write_nothing_and_come_without_a_traceback(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(tmp_path / "silent.wav", np.zeros(32_000, np.float32), 16_000)
    (tmp_path / "text.wav").write_text("hello")
    for name, code, problem in (("silent", 2, "it is silent"), ("text", 3, "ffmpeg -i"), ("gone", 3, "no such file")):
        found, _, err = run(capsys, "voices", "create", str(tmp_path / f"{name}.wav"), "me", "--model", "nano")
        assert found == code
        assert problem in err
        assert "Traceback" not in err
    assert not library.exists()


def test_the_help_says_what_a_voice_of_somebody_needs(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "voices", "create", "--help")
    assert CONSENT.split(":")[0] in " ".join(out.split())


def test_a_model_without_a_tokenizer_says_so(recording: Path) -> None:
    bark = Bark.from_pretrained("random:tiny")
    with pytest.warns(RecordingWarning), pytest.raises(ValueError, match="nothing is known of how they"):
        bark.voice_from(recording)
    assert issubclass(RecordingError, ValueError)
