"""What a generated clip can do: become a voice, and show itself."""

import base64
import dataclasses
import io
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bark_jax import Generation, Voice
from bark_jax.audio import AudioError
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.library import find_voice
from bark_jax.voices.metadata import MAX_CHARACTERS, VoiceMetadata

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
    assert "No audio" in empty_clip()._repr_html_()


def test_clips_of_the_same_content_are_equal() -> None:
    assert clip() == clip()
    assert hash(clip()) == hash(clip())
    assert clip() == dataclasses.replace(clip(), timings={"semantic": 9.0})
    assert empty_clip() == empty_clip()
    assert clip() != empty_clip()
    assert clip() != "Hello"
    assert len({clip(), clip(), clip("Other")}) == 2


@pytest.mark.parametrize("field", ["text", "seed", "sample_rate", "waveform", "semantic", "coarse", "fine"])
def test_clips_that_differ_in_one_thing_are_not_equal(field: str) -> None:
    value = getattr(clip(), field)
    changed = "Bye" if field == "text" else value + 1
    assert dataclasses.replace(clip(), **{field: changed}) != clip()


def test_voices_are_equal_by_their_tokens_and_metadata(library: Path) -> None:
    voice = clip().as_voice(language="de")
    path = clip().save_voice("me", language="de")
    assert Voice.load(path) == voice
    assert len({Voice.load(path), voice, dataclasses.replace(voice, name="other")}) == 1
    assert voice != clip().as_voice(language="pl")
    assert voice != clip(tokens=22).as_voice(language="de")


@pytest.mark.parametrize("text", ["Hello", "word " * 500, "x" * 5000, "two\nlines", "", "\x1b[31m\u202e"])
def test_descriptions_are_one_short_line(text: str) -> None:
    for described in (repr(clip(text)), repr(dataclasses.replace(clip(text).as_voice(), name="me"))):
        assert len(described) < 300
        assert described.isprintable()
    assert "0.40 s at 24000 Hz, seed 7" in repr(clip(text))
    assert repr(clip()).startswith("Generation('Hello', ")
    assert repr(clip().as_voice()).startswith("Voice(20 semantic tokens, 30 frames, seed 7, text 'Hello'")


@pytest.mark.parametrize("format", ["wav", ".FLAC", "ogg"])
def test_a_clip_is_written_to_a_file_object(tmp_path: Path, format: str) -> None:
    content = io.BytesIO()
    clip().save(content, format=format)
    path = tmp_path / f"clip.{format.lower().removeprefix('.')}"
    clip().save(path)
    if path.suffix != ".ogg":  # whose streams have a random serial number
        assert content.getvalue() == path.read_bytes()
    content.seek(0)
    assert soundfile.info(content).frames == len(clip().waveform)
    clip().save(tmp_path / "no suffix", format=format)
    assert soundfile.info(tmp_path / "no suffix").frames == len(clip().waveform)


def test_the_bytes_of_a_wav_file(tmp_path: Path) -> None:
    clip().save(tmp_path / "clip.wav")
    assert clip().wav_bytes() == (tmp_path / "clip.wav").read_bytes()
    assert soundfile.info(io.BytesIO(empty_clip().wav_bytes())).frames == 1


@pytest.mark.parametrize(
    ("format", "message"),
    [(None, "a file object needs a format: wav, flac"), ("xyz", "there is no format '.xyz': use wav")],
)
def test_formats_that_are_not_known_are_named(tmp_path: Path, format: str | None, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        clip().save(io.BytesIO(), format=format)
    if format:
        with pytest.raises(AudioError, match=message):
            clip().save(tmp_path / "clip.wav", format=format)
    assert list(tmp_path.iterdir()) == []
