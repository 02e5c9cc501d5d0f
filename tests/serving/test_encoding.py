"""Every format is what another library reads, as long as it should be, however the samples came."""

import io

import av
import numpy as np
import pytest
import soundfile

from bark_jax.serving.encoding import FORMATS, PCM_RATE, Encoder
from bark_jax.serving.errors import ApiError

TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(16_000 * 2) / 16_000)).astype(np.float32)


def encode(name: str, chunk: int, speed: float = 1.0, *, whole: bool) -> bytes:
    encoder = Encoder(name, 16_000, speed, whole=whole)
    chunks = [TONE[start : start + chunk] for start in range(0, len(TONE), chunk)]
    data = b"".join([*map(encoder.push, chunks), encoder.finish()])
    assert encoder.seconds == pytest.approx(2 / speed)
    return data


def decode(name: str, data: bytes) -> tuple[np.ndarray, int]:
    if name == "pcm":
        return np.frombuffer(data, "<i2") / 2**15, PCM_RATE
    with av.open(io.BytesIO(data)) as container:
        frames = list(container.decode(audio=0))
    samples = [frame.to_ndarray().reshape(-1) for frame in frames]
    scale = 2**15 if frames[0].format.name.startswith("s16") else 1
    return np.concatenate(samples) / scale, frames[0].sample_rate


@pytest.mark.parametrize("speed", [1.0, 0.25, 4.0])
@pytest.mark.parametrize("name", FORMATS)
def test_the_audio_is_that_of_the_samples(name: str, speed: float) -> None:
    samples, rate = decode(name, encode(name, 5000, speed, whole=False))
    assert len(samples) / rate == pytest.approx(2 / speed, abs=0.13)  # codecs pad to frames
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert spectrum.argmax() * rate / len(middle) == pytest.approx(440, abs=12)  # the pitch stays


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("name", FORMATS)
def test_how_samples_were_cut_changes_no_byte(name: str, whole: bool) -> None:
    assert encode(name, 700, whole=whole) == encode(name, 16_000, whole=whole)


@pytest.mark.parametrize("name", ["wav", "flac", "mp3"])
def test_a_whole_file_knows_its_length(name: str) -> None:
    assert soundfile.info(io.BytesIO(encode(name, 5000, whole=True))).duration == pytest.approx(2, abs=1e-6)


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "wav", "pcm"])
def test_a_stream_is_handed_out_as_it_is_made(name: str) -> None:
    encoder = Encoder(name, 16_000, whole=False)
    made = [encoder.push(TONE[:16_000]), encoder.push(TONE[16_000:]), encoder.finish()]
    assert len(made[0]) > sum(map(len, made)) / 10, "after half of the samples"


def test_a_wav_stream_can_be_read() -> None:
    samples, rate = soundfile.read(io.BytesIO(encode("wav", 5000, whole=False)), dtype="float32")
    assert rate == 16_000
    np.testing.assert_allclose(samples, TONE, atol=2**-15)


@pytest.mark.parametrize("name", FORMATS)
def test_no_audio_is_a_file_too(name: str) -> None:
    encoder = Encoder(name, 16_000, whole=True)
    data = encoder.finish()
    assert encoder.seconds == 0
    assert name == "pcm" or data


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ApiError, match=r"the format mp3 needs PyAV.*bark-jax\[serve\]"):
        Encoder("mp3", 24_000, whole=True)
    with pytest.raises(ApiError, match="another speed"):
        Encoder("wav", 24_000, 2.0, whole=True)
    Encoder("wav", 24_000, whole=True)


def test_an_encoder_that_ffmpeg_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", {"flac"})
    with pytest.raises(ApiError, match="no encoder for opus"):
        Encoder("opus", 24_000, whole=True)
