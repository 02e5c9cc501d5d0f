"""What a recording is like: levels, noise, clipping, pitch, pauses; and advice from that.

Axes: N samples, F frames of 20 ms.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FRAME = 0.02  # seconds
ACTIVE_DB = 30.0  # frames that are softer than the loud ones by more are no speech
PAUSE = 0.12  # seconds without speech, at least, that part words
SILENT_DB = -60.0  # a recording whose loud frames are below has nothing in it
LITTLE = 1.0  # seconds of speech: less cannot be a voice
SHORT = 3.0  # seconds: less makes a poor one
NOISY_DB = 20.0  # between speech and noise
STEADY_DB = 12.0  # of music and noise without pauses; speech has more
_CLIPPED = 1e-3  # share of samples at the ends of the scale
_TONAL = 0.1  # spectral flatness: below is music, above noise
_PITCHES = (65.0, 400.0)  # Hz
_VOICED = 0.6  # of the autocorrelation
_TWO_OCTAVES_APART = 0.6  # between two groups of pitches, each
_SHARE = 0.25  # of the voiced frames at least

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Measurements:
    """Of one channel."""

    levels: Floats  # [F] dBFS of each frame
    loud: float  # dBFS, that 5 % of the frames exceed
    quiet: float  # dBFS, that 10 % are below
    active: npt.NDArray[np.bool_]  # [F]: frames of speech
    clipped: float  # share of samples
    flatness: float  # of the mean spectrum: 1 is white noise
    pitch_gap: float  # octaves between two groups of pitches; 0 for one group

    @property
    def speech_seconds(self) -> float:
        """Time with speech."""
        return float(self.active.sum()) * FRAME

    @property
    def signal_to_noise(self) -> float:
        """dB between loud and quiet frames."""
        return self.loud - self.quiet


def measure(waveform: Floats, sample_rate: int) -> Measurements:
    """Measure a waveform [N]."""
    levels = frame_levels(waveform, sample_rate)
    loud, quiet = (float(np.quantile(levels, q)) for q in (0.95, 0.1)) if len(levels) else (-120.0, -120.0)
    active = (levels > max(loud - ACTIVE_DB, quiet + min(6.0, (loud - quiet) / 2))) & (loud > SILENT_DB)
    peak = float(np.abs(waveform).max(initial=0))
    clipped = float((np.abs(waveform) >= 0.999 * peak).mean()) if peak > 0.9 else 0.0
    return Measurements(
        levels=levels, loud=loud, quiet=quiet, active=active, clipped=clipped,
        flatness=_flatness(waveform, sample_rate), pitch_gap=_pitch_gap(waveform, sample_rate, active),
    )  # fmt: skip


def frame_levels(waveform: Floats, sample_rate: int) -> Floats:
    """Root mean squares of whole frames in dBFS, −120 at least: [F]."""
    size = round(FRAME * sample_rate)
    frames = waveform[: len(waveform) // size * size].reshape(-1, size)
    power = np.square(frames, dtype=np.float64).mean(axis=1)
    return (10 * np.log10(np.maximum(power, 1e-12))).astype(np.float32)


def problems(found: Measurements) -> tuple[list[str], list[str]]:
    """What makes a voice impossible, and what makes it worse, each with its figure."""
    fatal, advice = [], []
    if found.loud <= SILENT_DB:
        return [f"it is silent: its loudest parts are at {found.loud:.0f} dBFS"], []
    if found.signal_to_noise < STEADY_DB:
        kind = "music" if found.flatness < _TONAL else "noise"
        fatal.append(
            f"it sounds like {kind}, not speech: only {found.signal_to_noise:.0f} dB lie between its loud and its soft "
            f"parts, where speech has {NOISY_DB:.0f} and more"
        )
    elif found.signal_to_noise < NOISY_DB:
        advice.append(f"it is noisy: {found.signal_to_noise:.0f} dB between speech and noise, {NOISY_DB:.0f} are good")
    if found.speech_seconds < LITTLE:
        fatal.append(f"there are only {found.speech_seconds:.1f} s of speech in it: {SHORT:.0f} s are the least")
    elif found.speech_seconds < SHORT:
        advice.append(f"it is short: {found.speech_seconds:.1f} s of speech, 5 s and more are good")
    if found.clipped > _CLIPPED:
        advice.append(f"it is clipped: {found.clipped:.1%} of its samples are at the end of the scale")
    if found.pitch_gap:
        advice.append(f"there may be several speakers: their pitches lie {found.pitch_gap:.1f} octaves apart")
    return fatal, advice


def _flatness(waveform: Floats, sample_rate: int) -> float:
    """Geometric over arithmetic mean of the power spectra's bins from 100 Hz to 4 kHz, over all frames."""
    size = 2 ** round(np.log2(0.064 * sample_rate))
    frames = waveform[: len(waveform) // size * size].reshape(-1, size)[:4096]
    if not len(frames):
        return 1.0
    power = np.square(np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)))
    first, last = (round(f * size / sample_rate) for f in (100, min(4000, sample_rate / 2)))
    band = power[:, first:last] + 1e-12
    return float(np.median(np.exp(np.log(band).mean(axis=1)) / band.mean(axis=1)))


def pitches(waveform: Floats, sample_rate: int, active: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Hz of the voiced ones of the active frames, by the peak of the autocorrelation of 60 ms around each."""
    hop, size = round(FRAME * sample_rate), round(0.06 * sample_rate)
    starts = np.flatnonzero(active)[:3000] * hop - (size - hop) // 2
    starts = starts[(starts >= 0) & (starts + size <= len(waveform))]
    if not len(starts):
        return np.zeros(0)
    frames = waveform[starts[:, None] + np.arange(size)].astype(np.float64)
    frames -= frames.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(frames * np.hanning(size), 2 * size, axis=1)
    correlation = np.fft.irfft(np.square(np.abs(spectrum)), axis=1)
    window = np.fft.irfft(np.square(np.abs(np.fft.rfft(np.hanning(size), 2 * size))))
    shortest, longest = round(sample_rate / _PITCHES[1]), round(sample_rate / _PITCHES[0])
    normal = correlation / np.maximum(correlation[:, :1], 1e-9) * (window[0] / np.maximum(window, 1e-6))
    lags = normal[:, shortest : min(longest, size // 2 + 1)]
    best = lags.argmax(axis=1)
    return sample_rate / (best + shortest)[lags.max(axis=1) > _VOICED]


def _pitch_gap(waveform: Floats, sample_rate: int, active: npt.NDArray[np.bool_]) -> float:
    """Octaves between two groups of pitches that are tight and far apart; 0 if there is one group."""
    octaves = np.sort(np.log2(pitches(waveform, sample_rate, active)))
    if len(octaves) < 50:
        return 0.0
    edges = np.arange(round(_SHARE * len(octaves)), round((1 - _SHARE) * len(octaves)))
    spread = [octaves[:e].var() * e + octaves[e:].var() * (len(octaves) - e) for e in edges]
    edge = int(edges[int(np.argmin(spread))])
    low, high = octaves[:edge], octaves[edge:]
    gap = float(np.median(high) - np.median(low))
    apart = gap > _TWO_OCTAVES_APART and gap > 2.5 * max(float(low.std()), float(high.std()))
    return gap if apart else 0.0
