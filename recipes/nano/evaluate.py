"""How well the domain's recogniser understands espeak-ng, the codec's copy of it, and the nano model.

All three say the same held-out sentences. espeak-ng's own word error rate is what can be had at best.
"""

import importlib.metadata
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bark_jax.audio import Waveform, read_audio, write_audio
from bark_jax.bark import Bark
from bark_jax.bench import table
from bark_jax.errors import TrainingError
from bark_jax.files import replacing
from bark_jax.measuring import machine
from bark_jax.stages.codec import decode_codes, encode_waveforms
from recipes.nano.recognizer import Recognizer
from recipes.nano.speech import espeak_version, read_table
from recipes.nano.texts import spoken_words
from recipes.nano.word_errors import word_error_rate

REPORT, SUMMARY, SAMPLES = "report.json", "report.md", "samples"
SAMPLE_COUNT = 10
_BATCH = 16  # clips at once


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """A sentence spoken."""

    text: str
    speaker: str
    waveform: Waveform  # [N]
    sample_rate: int  # Hz


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A sentence spoken, and the words that the recogniser heard."""

    text: str
    speaker: str
    words: list[str]


def evaluate(bark: Bark, speech: Path, to: Path) -> dict[str, Any]:
    """Measure a model on a folder of held-out speech (of `speech.synthesize`, its speakers voices of the model).

    The seed of each sentence is its number. Writes a few samples, report.md and at last report.json into the folder
    `to`; the report is returned. Raises TrainingError, and AudioError for a damaged file of speech.
    """
    recognizer = Recognizer()
    original = list(read_speech(speech, bark.config.codec.sample_rate))
    nano = list(speak_again(bark, original))
    heard = {
        "espeak": listen(recognizer, original),
        "codec": listen(recognizer, code_again(bark, original)),
        "nano": listen(recognizer, nano),
    }
    report = {"made": _made()} | make_report(heard)
    try:
        (to / SAMPLES).mkdir(parents=True, exist_ok=True)
        for index, utterance in enumerate(nano[:SAMPLE_COUNT]):
            write_audio(to / SAMPLES / f"{index}.ogg", utterance.waveform, utterance.sample_rate)
        for name, content in ((SUMMARY, summarize(report)), (REPORT, json.dumps(report, indent=2, ensure_ascii=False))):
            with replacing(to / name) as temporary:
                temporary.write_text(content, encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"cannot write the report to {to}: {error}") from error
    return report


def read_speech(folder: Path, sample_rate: int) -> Iterator[Utterance]:
    """The speech in a folder of `speech.synthesize`. Raises TrainingError, and AudioError for a damaged file."""
    for row in read_table(folder):
        waveform = read_audio(folder / row["file"], sample_rate)
        yield Utterance(text=row["text"], speaker=row["speaker"], waveform=waveform, sample_rate=sample_rate)


def code_again(bark: Bark, utterances: Sequence[Utterance]) -> Iterator[Utterance]:
    """The same through the model's codec."""
    for batch in _batches(utterances):
        codes = encode_waveforms(bark.codec, [utterance.waveform for utterance in batch])
        yield from _with_waveforms(bark, batch, decode_codes(bark.codec, bark.config, codes))


def speak_again(bark: Bark, utterances: Sequence[Utterance]) -> Iterator[Utterance]:
    """The same sentences said by the model, in its voices of the speakers' names."""
    for number, batch in enumerate(_batches(utterances)):
        made = bark.generate(
            [utterance.text for utterance in batch],
            [utterance.speaker for utterance in batch],
            seed=[number * _BATCH + i for i in range(len(batch))],
        )
        yield from _with_waveforms(bark, batch, [generation.waveform for generation in made])


def _batches(utterances: Sequence[Utterance]) -> Iterator[Sequence[Utterance]]:
    return (utterances[first : first + _BATCH] for first in range(0, len(utterances), _BATCH))


def _with_waveforms(bark: Bark, batch: Sequence[Utterance], waveforms: Sequence[Waveform]) -> Iterator[Utterance]:
    rate = bark.config.codec.sample_rate
    for old, waveform in zip(batch, waveforms, strict=True):
        yield Utterance(text=old.text, speaker=old.speaker, waveform=waveform, sample_rate=rate)


def listen(recognizer: Recognizer, utterances: Iterable[Utterance]) -> list[Heard]:
    """What the recogniser makes of each."""
    return [Heard(text=u.text, speaker=u.speaker, words=recognizer(u.waveform, u.sample_rate)) for u in utterances]


def _made() -> dict[str, str]:
    """When, and with what."""
    packages = {name: importlib.metadata.version(name) for name in ("bark-jax", "pocketsphinx")}
    facts = {"date": f"{datetime.now(UTC):%Y-%m-%d}", **packages, "espeak-ng": espeak_version(), **machine()}
    return {name: value for name, value in facts.items() if value}


def make_report(heard: dict[str, list[Heard]]) -> dict[str, Any]:
    """Word error rates of each source, in all and by speaker, the goals, and every sentence as it was heard."""
    rates = {source: _rates(found) for source, found in heard.items()}
    espeak = rates["espeak"]["all"]
    goals = {"codec": espeak + 0.03, "nano": 1.5 * espeak + 0.05}
    sentences = [
        {"text": found[0].text, "speaker": found[0].speaker}
        | {source: " ".join(one.words) for source, one in zip(heard, found, strict=True)}
        for found in zip(*heard.values(), strict=True)
    ]
    return {
        "word_error_rates": rates,
        "goals": {source: {"most": most, "reached": rates[source]["all"] <= most} for source, most in goals.items()},
        "sentences": sentences,
    }


def _rates(heard: Sequence[Heard]) -> dict[str, float]:
    groups = {"all": heard} | {
        speaker: [one for one in heard if one.speaker == speaker] for speaker in sorted({one.speaker for one in heard})
    }
    return {name: word_error_rate((spoken_words(h.text), h.words) for h in group) for name, group in groups.items()}


def summarize(report: dict[str, Any]) -> str:
    """The report in Markdown: the rates, what they were measured with, and the sentences of the samples."""
    rates = []
    for source, found in report["word_error_rates"].items():
        row = {"": source} | {group: f"{rate:.1%}" for group, rate in found.items()}
        if goal := report["goals"].get(source):
            row |= {"at most": f"{goal['most']:.1%}", "goal": "reached" if goal["reached"] else "missed"}
        rates.append(row)
    samples = [
        {"sample": f"{SAMPLES}/{index}.ogg", "voice": one["speaker"], "text": one["text"], "heard": one["nano"]}
        for index, one in enumerate(report["sentences"][:SAMPLE_COUNT])
    ]
    return "\n\n".join(
        [
            f"Word error rates of {len(report['sentences'])} held-out sentences:",
            table(rates),
            ", ".join(f"{name} {value}" for name, value in report["made"].items()) + ":",
            "    python -m recipes.nano --to FOLDER --only evaluate",
            table(samples),
            "",
        ]
    )
