"""How exact are the times of words? nano against pocketsphinx's forced alignment of the same audio.

    python -m benchmarks.word_times [--sentences 194] [--map heads.png]

Errors are of words' starts. The map shows what each head looked at in the first sentence.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from bark_jax import Bark
from bark_jax.audio import Waveform, pcm_bytes, resample
from bark_jax.bench import table
from bark_jax.hearing.timing import WordTime
from bark_jax.inputs import Options
from recipes.nano.texts import spoken_words

REPORT = Path(__file__).parents[1] / "recipes" / "nano" / "report" / "report.json"
RATE = 16_000
_BATCH = 16
_SILENCE = 0.3  # seconds before and after, in which the recogniser settles


def align(waveform: Waveform, rate: int, words: list[str]) -> list[tuple[float, float]]:
    """Start and end of each spoken word, in seconds; empty if pocketsphinx cannot align them."""
    from pocketsphinx import Decoder  # type: ignore[import-untyped]

    decoder = Decoder(lm=None, loglevel="FATAL", samprate=float(RATE), dither=True, seed=1, bestpath=False)
    padded = np.pad(resample(waveform, rate, RATE), round(_SILENCE * RATE))
    decoder.set_align_text(" ".join(words))
    decoder.start_utt()
    decoder.process_raw(pcm_bytes(padded), full_utt=True)
    decoder.end_utt()
    if decoder.hyp() is None:
        return []
    found = [s for s in decoder.seg() if not s.word.startswith(("<", "["))]
    return [(s.start_frame / 100 - _SILENCE, (s.end_frame + 1) / 100 - _SILENCE) for s in found]


def errors(words: tuple[WordTime, ...], aligned: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of starts and ends, in seconds; a written word may be several spoken ones."""
    made, at = [], 0
    for word in words:
        count = len(spoken_words(word.text))
        if at + count > len(aligned):
            return []
        made.append((word.start - aligned[at][0], word.end - aligned[at + count - 1][1]))
        at += count
    return made if at == len(aligned) else []


def draw_heads(bark: Bark, text: str, speaker: str, path: Path) -> None:
    """What every head looked at."""
    from matplotlib.figure import Figure

    clip = bark.generate(text, speaker, seed=0)
    ids = bark.frontend.reader.read(text).ids
    options = Options(voice=bark.find_voice(speaker), seed=0, settings=bark.settings)
    (heads,) = bark.engine.attention_to_text([ids], [clip.semantic], [options])
    layers, count = bark.config.semantic.gpt.layers, bark.config.semantic.gpt.heads
    figure = Figure(figsize=(3 * count, 2 * layers), layout="constrained")
    for number, (ax, weights) in enumerate(zip(figure.subplots(layers, count).flat, heads, strict=True)):
        ax.imshow(weights.T, aspect="auto", vmin=0, vmax=1, interpolation="nearest")
        ax.set_title(f"layer {number // count}, head {number % count}", fontsize=8)
    figure.suptitle(f"{text} (tokens of speech to the right, of text downwards)", fontsize=9)
    figure.savefig(path)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", type=int, default=194)
    parser.add_argument("--map", type=Path)
    options = parser.parse_args()
    bark, found, clips = Bark.from_pretrained("nano"), [], 0
    sentences = json.loads(REPORT.read_text(encoding="utf-8"))["sentences"][: options.sentences]
    if options.map:
        draw_heads(bark, sentences[0]["text"], sentences[0]["speaker"], options.map)
    tails = 0
    for first in range(0, len(sentences), _BATCH):
        batch = sentences[first : first + _BATCH]
        seeds = list(range(first, first + len(batch)))
        made = bark.generate([s["text"] for s in batch], [s["speaker"] for s in batch], seed=seeds, word_times=True)
        for clip in made:
            own = errors(clip.words or (), align(clip.waveform, clip.sample_rate, spoken_words(clip.text)))
            found += own
            clips += bool(own)
            tails += bool(clip.tail_seconds)
    starts, ends = np.abs(np.array(found)).T
    rows = [
        {"of words'": name, "median": f"{np.median(e) * 1e3:.0f} ms", "95 %": f"{np.quantile(e, 0.95) * 1e3:.0f} ms"}
        for name, e in (("starts", starts), ("ends", ends))
    ]
    print(f"{clips} of {len(sentences)} clips, {len(found)} words, {tails} tails\n\n{table(rows)}")


if __name__ == "__main__":
    main()
