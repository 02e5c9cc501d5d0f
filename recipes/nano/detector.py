"""The built-in detector: `python -m recipes.nano.detector --to work`, which makes its audio, trains it and reports.

The built-in model, espeak-ng and flite say the same sentences. Each clip is heard as it is, as MP3, and with noise.
What the detector was not trained on is only measured: other ways of coding, other voices, recordings, and espeak-ng
through the model's own codec, which is what the model's sounds come from.
"""

import argparse
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile  # type: ignore[import-untyped]

from bark_jax.audio import Waveform, read_audio, resample, write_audio
from bark_jax.bark import Bark
from bark_jax.bench import table
from bark_jax.cli import run_command
from bark_jax.cli.console import note
from bark_jax.hearing.detection import BUILT_IN, CODEC, Detector, Floats, codec_features
from bark_jax.hearing.detector_training import area, audio_files, draw_roc, fit, is_held_out
from bark_jax.layouts import NANO
from recipes.nano.speech import Line, synthesize, take_turns
from recipes.nano.texts import make_texts

REPORT = Path(__file__).parent / "report"
_CLIP = 4  # seconds that a recording is cut into
PROGRAMS = {"espeak": "espeak-ng", "flite": "flite"}

Change = Callable[[Waveform, int], Waveform]


def coded(kind: str, subtype: str) -> Change:
    """What a codec makes of a waveform."""

    def change(waveform: Waveform, rate: int) -> Waveform:
        content = io.BytesIO()
        soundfile.write(content, waveform, rate, format=kind, subtype=subtype)
        content.seek(0)
        samples, _ = soundfile.read(content, dtype="float32")
        return np.asarray(samples[: len(waveform)])

    return change


def noisy(waveform: Waveform, rate: int) -> Waveform:
    """White noise 20 dB below."""
    noise = np.random.default_rng(len(waveform)).standard_normal(len(waveform)).astype(np.float32)
    level = np.float32(0.1 * np.sqrt(np.square(waveform, dtype=np.float64).mean()))
    return waveform + level * noise


def telephone(waveform: Waveform, rate: int) -> Waveform:
    """At 8 kHz and back."""
    return resample(resample(waveform, rate, 8000), 8000, rate)[: len(waveform)]


LEARNED: dict[str, Change] = {
    "as it is": lambda waveform, rate: waveform, "MP3": coded("MP3", "MPEG_LAYER_III"), "noise, 20 dB": noisy,
}  # fmt: skip
MEASURED: dict[str, Change] = {**LEARNED, "Ogg Vorbis": coded("OGG", "VORBIS"), "8 kHz": telephone}


def make_audio(folder: Path, sentences: int) -> None:
    """Clips of the model, of espeak-ng, of flite, and of espeak-ng through the model's codec."""
    lines = take_turns(make_texts(1, 1, sentences).held_out)
    synthesize(lines, folder / "espeak")
    bark = Bark.from_pretrained(NANO)
    rate = bark.config.codec.sample_rate

    def nano(number: int, line: Line) -> Waveform:
        return bark.generate(line.text, voice=line.speaker.name if number % 4 else "none", seed=number).waveform

    def through_codec(number: int, line: Line) -> Waveform:
        return bark.decode(bark.encode(read_audio(folder / "espeak" / line.file, rate)))

    def flite(*voices: str) -> Callable[[int, Line], Waveform]:
        return lambda number, line: speak_flite(line.text, voices[number % len(voices)], rate)

    makers = {"nano": nano, "coded": through_codec, "flite": flite("slt", "rms"), "unheard": flite("kal16", "awb")}
    for kind, make in makers.items():
        (folder / kind).mkdir(exist_ok=True)
        for number, line in enumerate(lines):
            if not (folder / kind / line.file).exists():
                write_audio(folder / kind / line.file, make(number, line), rate)


def speak_flite(text: str, voice: str, rate: int) -> Waveform:
    """A sentence by Debian's flite."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        return read_audio(path, rate)


def hear(folder: Path, change: Change, rate: int) -> dict[Path, Floats]:
    """The features of every file, changed."""
    heard = {}
    for path in audio_files(folder):
        waveform = read_audio(path, rate)
        if len(waveform) >= rate // 2:
            heard[path] = codec_features(change(waveform, rate).astype(np.float32))
    return heard


def hear_recordings(folder: Path, rate: int) -> Floats:
    """The features of recordings, in clips."""
    waveforms = [read_audio(path, rate) for path in audio_files(folder)]
    clips = [w[i : i + _CLIP * rate] for w in waveforms for i in range(0, max(1, len(w) - _CLIP * rate), _CLIP * rate)]
    return np.stack([codec_features(clip) for clip in clips])


def train(folder: Path, rate: int) -> tuple[Detector, dict[str, dict[str, Floats]]]:
    """The detector, and the log-odds of held-out files by kind and change."""
    heard = {(kind, name): hear(folder / kind, change, rate)
             for kind in ("nano", "espeak", "flite") for name, change in MEASURED.items()}  # fmt: skip
    rows, labels = [], []
    for (kind, name), own in heard.items():
        if name in LEARNED:
            kept = [values for path, values in own.items() if not is_held_out(path)]
            rows += kept
            labels += [kind == "nano"] * len(kept)
    detector = fit(CODEC, np.stack(rows), np.array(labels))
    odds: dict[str, dict[str, Floats]] = {}
    for (kind, name), own in heard.items():
        odds.setdefault(kind, {})[name] = detector.logit(held_out(own))
    return detector, odds


def held_out(heard: Mapping[Path, Floats]) -> Floats:
    """The features of the files that no training sees."""
    return np.stack([values for path, values in heard.items() if is_held_out(path)])


def report(folder: Path, recordings: Path | None, rate: int) -> None:
    """Train, measure, and write the detector, its table and its figure."""
    detector, odds = train(folder, rate)
    plain = odds["nano"]["as it is"]
    others = {f"{PROGRAMS[kind]}, {name}": (odds["nano"][name], own)
              for kind in PROGRAMS for name, own in odds[kind].items()}  # fmt: skip
    for kind, name in (("unheard", "flite, other voices"), ("coded", "espeak-ng through the model's own codec")):
        others[name] = (plain, detector.logit(held_out(hear(folder / kind, LEARNED["as it is"], rate))))
    if recordings is not None:
        others["recordings"] = (plain, detector.logit(hear_recordings(recordings, rate)))
    rows = [{"the model's clips against": name, **measures(*own)} for name, own in others.items()]
    detector.save(BUILT_IN)
    draw_roc([(name, *own) for name, own in others.items()], REPORT / "detector.png")
    about = (__doc__ or "").partition("\n")[2].strip()
    text = (
        f"# The built-in detector\n\n{about}\n\nHeld-out files only; both sides are changed alike.\n\n{table(rows)}\n"
    )
    (REPORT / "detector.md").write_text(text)
    note(table(rows))


def measures(bark: Floats, other: Floats) -> dict[str, Any]:
    """What log-odds say."""
    return {
        "clips": len(bark), "others": len(other), "AUC": round(area(bark, other), 3),
        "others taken for Bark's": f"{(other > 0).mean():.0%}", "Bark's missed": f"{(bark <= 0).mean():.0%}",
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m recipes.nano.detector", description=__doc__)
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="where the audio is made")
    parser.add_argument("--sentences", type=int, default=240)
    parser.add_argument("--recordings", type=Path, metavar="FOLDER", help="recorded speech, to measure with")
    options = parser.parse_args(arguments)

    def run() -> None:
        make_audio(options.to, options.sentences)
        report(options.to, options.recordings, Bark.from_pretrained(NANO).config.codec.sample_rate)

    return run_command(run)


if __name__ == "__main__":
    sys.exit(main())
