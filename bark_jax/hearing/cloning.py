"""A recording → a voice.

Read, trimmed, brought to a level, and cut to the best stretch; then codes by the model's encoder and semantic tokens by
the tokenizer that the model speaks. Suno never published how its voices were made; community tools do the same with
HuBERT's tokens.
"""

import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bark_jax.config import BarkConfig
from bark_jax.errors import InputError
from bark_jax.hearing.measuring import Measurements, measure, problems
from bark_jax.hearing.recordings import Recording, from_samples, read_recording
from bark_jax.hearing.stretch import Stretch, choose_stretch, levelled
from bark_jax.voices.metadata import VoiceMetadata
from bark_jax.voices.tokens import rates_agree
from bark_jax.voices.voice import Voice

CONSENT = (
    "Make a voice of somebody only with their consent: a voice identifies a person, and in many countries the law "
    "protects it. The voice's file names its source and holds a hash of the recording."
)


class RecordingError(InputError):
    """A recording that cannot become a voice."""


class RecordingWarning(UserWarning):
    """Something that makes the voice of a recording worse, with its figure."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Heard:
    """What was chosen of a recording."""

    recording: Recording
    stretch: Stretch
    waveform: npt.NDArray[np.float32]  # [N]: the stretch at its level
    gain: float  # dB
    measurements: Measurements  # of the stretch
    advice: tuple[str, ...]

    def describe(self) -> str:
        """A line for the user."""
        speech, ratio = self.measurements.speech_seconds, self.measurements.signal_to_noise
        return (
            f"{self.recording.name}: {self.stretch.start:.2f} … {self.stretch.end:.2f} s, {speech:.1f} s of it speech, "
            f"{ratio:.0f} dB above the noise, gain {self.gain:+.0f} dB"
        )


def listen(
    source: Any, sample_rate: int, *, start: float | None = None, end: float | None = None, force: bool = False
) -> Heard:
    """Choose what to make a voice of.

    source: a path, or (waveform float [N] or [N, channels], Hz). start, end: seconds, to choose yourself. Raises
    AudioError for a file that cannot be read, and RecordingError for one that no voice can come from; force: try all
    the same. Nothing is warned of: see `Heard.advice`.
    """
    if isinstance(source, str | Path):
        recording = read_recording(source, sample_rate, start=start, end=end)
    else:
        try:
            samples, rate = source
            rate = int(rate)
        except (TypeError, ValueError) as error:
            raise RecordingError(f"a recording is a path or (waveform, Hz), not {type(source).__name__}") from error
        recording = from_samples(samples, rate, sample_rate, start=start, end=end)
    found = measure(recording.waveform, sample_rate)
    fatal, advice = problems(found)
    if fatal and (not force or not found.speech_seconds):
        hint = "" if not found.speech_seconds else " (--force, force=True, tries all the same)"
        raise RecordingError(f"{recording.name} cannot become a voice: {'; '.join(fatal)}{hint}")
    chosen = start is not None and end is not None
    stretch = Stretch(0.0, recording.seconds, True) if chosen else choose_stretch(found)
    waveform = stretch.cut(recording.waveform, sample_rate)
    within = measure(waveform, sample_rate)
    waveform, gain = levelled(waveform, within.active, sample_rate)
    if not stretch.between_words:
        advice.append("it has no pause to end at: the voice may begin with half a word")
    moved = dataclasses.replace(stretch, start=stretch.start + (start or 0), end=stretch.end + (start or 0))
    return Heard(
        recording=recording, stretch=moved, waveform=waveform, gain=gain, measurements=within,
        advice=(*recording.notes, *fatal, *advice),
    )  # fmt: skip


def make_voice(
    heard: Heard, config: BarkConfig, codes: npt.NDArray[np.int32], semantic: npt.NDArray[np.int32],
    *, language: str | None = None, description: str | None = None, model: str | None = None,
) -> Voice:  # fmt: skip
    """The voice of codes [K, T] and semantic tokens [N], cut to the same duration. Raises VoiceError."""
    ratio = config.codec.frame_rate_hz / config.semantic.rate_hz
    tokens = min(len(semantic), int(codes.shape[1] / ratio))
    frames = min(codes.shape[1], round(tokens * ratio))
    if not tokens or not rates_agree(tokens, frames, config):
        raise RecordingError(f"{heard.recording.name} cannot become a voice: {tokens} semantic tokens are too few")
    metadata = VoiceMetadata(
        language=language, description=description, model=model, source="recording", recording=heard.recording.sha256
    )
    fine = codes[:, :frames]
    voice = Voice(semantic=semantic[:tokens], coarse=fine[: config.coarse.codebooks], fine=fine, metadata=metadata)
    voice.check(config)
    return voice


def warn_of(heard: Heard, *, stacklevel: int) -> None:
    """One warning for each advice."""
    for advice in heard.advice:
        warnings.warn(f"{heard.recording.name}: {advice}", RecordingWarning, stacklevel=stacklevel + 1)
