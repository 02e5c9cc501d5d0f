"""Is a voice from a recording like its source? A speaker-embedding network that nobody here wrote decides.

espeak-ng speaks with the recipe's two voices, which nano was trained on, and with four others. Each is recorded, made a
voice by `Bark.voice_from`, and given sentences to say. Resemblyzer (weights in its package) embeds recordings and what
nano says; a clip counts as right if it is nearest to its own source among all six.

    pip install resemblyzer; apt install espeak-ng
    python -m benchmarks.voice_similarity
"""

import argparse
import tempfile
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bark_jax import Bark
from bark_jax.audio import Waveform, read_audio, resample
from bark_jax.bench import table
from bark_jax.hearing.cloning import RecordingWarning
from recipes.nano.speech import SPEAKERS, Line, Speaker, synthesize

RATE = 16_000
OTHERS = tuple(
    Speaker(name=name, voice=f"en-us+{name}", words_per_minute=150, pitch=pitch)
    for name, pitch in (("m3", 40), ("f2", 60), ("m7", 50), ("f4", 45))
)
RECORDED = (
    "It is seven thirty two on Monday.", "The weather is cold today.", "I like tea.", "See you tomorrow.",
    "It takes sixty two weeks.",
)  # fmt: skip
SAID = (
    "Come to the park at seven thirty!", "It is cold today.", "Good evening, Mary.", "I like tea.", "It is noon.",
    "See you on Friday.", "The number is forty two.", "It is ten fifteen.", "Thank you.", "It is warm on Sunday.",
)  # fmt: skip


def record(speaker: Speaker, folder: Path) -> Waveform:
    """Its sentences one after the other."""
    lines = [Line(text=text, speaker=speaker) for text in RECORDED]
    synthesize(lines, folder / speaker.name)
    return np.concatenate([read_audio(folder / speaker.name / line.file, RATE) for line in lines])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", type=int, default=len(SAID))
    said = SAID[: parser.parse_args().sentences]
    from resemblyzer import VoiceEncoder, preprocess_wav  # type: ignore[import-untyped]

    encoder, bark = VoiceEncoder("cpu", verbose=False), Bark.from_pretrained("nano")

    def embed(waveform: Waveform, rate: int) -> npt.NDArray[np.float32]:
        return encoder.embed_utterance(preprocess_wav(resample(waveform, rate, RATE), source_sr=RATE))

    speakers = (*SPEAKERS, *OTHERS)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", RecordingWarning)
        recordings = [record(speaker, Path(folder)) for speaker in speakers]
        voices = [bark.voice_from((recording, RATE)) for recording in recordings]
    sources = np.stack([embed(recording, RATE) for recording in recordings])
    rows = []
    for number, (speaker, voice) in enumerate(zip(speakers, voices, strict=True)):
        clips = bark.generate(list(said), voice, seed=list(range(len(said))))
        near = np.stack([embed(clip.waveform, clip.sample_rate) for clip in clips]) @ sources.T
        own = np.delete(near, number, axis=1)
        rows.append({
            "speaker": speaker.name, "trained": "yes" if speaker in SPEAKERS else "no",
            "nearest to its source": f"{(near.argmax(axis=1) == number).mean():.0%}",
            "similarity": f"{near[:, number].mean():.2f}", "to the nearest other": f"{own.max(axis=1).mean():.2f}",
        })  # fmt: skip
        print(table(rows[-1:]), flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
