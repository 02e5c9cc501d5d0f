"""What a generated clip can do: become a voice, and show itself."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bark_jax import Generation
from bark_jax.voices.library import find_voice
from bark_jax.voices.voice import MAX_CHARACTERS, VoiceError, VoiceMetadata

from voice_arrays import TINY, arrays


def clip(text: str = "Hello", tokens: int = 20) -> Generation:
    values = arrays(tokens)
    samples = 320 * values["fine_prompt"].shape[1]
    return Generation(
        text=text, seed=np.int64(7), sample_rate=24_000, waveform=np.linspace(-2, 2, samples, dtype=np.float32),
        semantic=values["semantic_prompt"], coarse=values["coarse_prompt"], fine=values["fine_prompt"],
        timings={"semantic": 0.5, "coarse": 0.5},
    )  # fmt: skip


def empty_clip() -> Generation:
    none = np.zeros((8, 0), np.int32)
    return Generation(
        text="Hi", seed=1, sample_rate=24_000, waveform=np.zeros(0, np.float32), semantic=none[0], coarse=none[:2],
        fine=none, timings={},
    )  # fmt: skip


def test_a_clip_is_kept_as_a_voice(library: Path) -> None:
    path = clip().save_voice("me", language="de", description="calm", model="random:tiny")
    assert path == library / "me.npz"
    voice = find_voice("me", None, TINY)
    np.testing.assert_array_equal(voice.fine, clip().fine)
    assert voice.metadata == VoiceMetadata(language="de", description="calm", model="random:tiny", seed=7, text="Hello")
    with pytest.raises(VoiceError, match="already"):
        clip().save_voice("me")
    clip("Other").save_voice("me", overwrite=True)
    assert find_voice("me", None, TINY).metadata.text == "Other"


def test_a_text_too_long_for_metadata_is_cut() -> None:
    assert clip("ha " * MAX_CHARACTERS).as_voice().metadata.text == ("ha " * MAX_CHARACTERS)[:MAX_CHARACTERS].strip()


def test_an_empty_clip_is_no_voice(library: Path) -> None:
    with pytest.raises(VoiceError, match="an empty clip cannot be a voice"):
        empty_clip().save_voice("me")
    assert not library.exists()


def test_a_clip_shows_a_player() -> None:
    shown = clip('<b>Tom & "Jerry"</b>')._repr_html_()
    assert "<audio controls" in shown
    assert "&lt;b&gt;Tom &amp; &quot;Jerry&quot;&lt;/b&gt;" in shown
    assert "0.40 s" in shown
    assert "seed 7" in shown
    data = re.search('data:audio/wav;base64,([^"]+)', shown)
    assert data is not None
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data[1])), dtype="float32")
    assert rate == 24_000
    np.testing.assert_allclose(samples, np.clip(clip().waveform, -1, 1), atol=2**-15)


def test_an_empty_clip_shows_no_player() -> None:
    assert "<audio" not in empty_clip()._repr_html_()
    assert "empty" in empty_clip()._repr_html_()
