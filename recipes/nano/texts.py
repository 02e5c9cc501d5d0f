"""Sentences to train on and to be tested with: dealt from grammars, written as people type them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bark_jax.errors import TrainingError
from bark_jax.files import replacing
from recipes.nano.grammar import DOMAIN, SOUNDS, Dealer, Span, read_grammar
from recipes.nano.numbers import ordinal, spell, value

MAX_WORDS = 14
_LETTERS = 40  # of the words of a sentence: with blanks and marks it fits the model's text
_LETTERS_OF_SOUNDS = 72  # espeak-ng speaks them in about 5 seconds at most
_TRIES = 10  # sentences dealt for each that is wanted: some are too long, or were dealt before
_DIGITS = 0.5  # share of numbers that are written in digits
_HYPHENS = 0.5  # share of the others in which "twenty one" has one

_NAMES = ("name", "city", "language", "weekday", "month")
_NUMBERS = ("number", "small", "large", "several", "thousands", "hours")
_MARKS = {"comma": ",", "full_stop": ".", "question_mark": "?", "exclamation_mark": "!"}
_LABELS = (*_NAMES, *_NUMBERS, *_MARKS, "clock", "ordinal", "percent", "figures")
FILES = ("sounds", "words", "held_out")  # .txt
_SUFFIXES = {1: "st", 2: "nd", 3: "rd"}  # of ordinals in digits; elsewhere th
_SPOKEN = re.compile(
    r"(?P<hour>\d{1,2}):(?P<minute>[0-5]\d)(?!\d)|(?P<number>\d{1,3}(?:,\d{3})+|\d+)(?P<end>st|nd|rd|th|%)?"
    r"|(?P<word>[a-z]+(?:'[a-z]+)*)|(?P<other>[^\s.,;:!?-])"
)


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Sentences as typed. None that is held out is said in the others, however it is written."""

    sounds: list[str]  # for the stages that learn sounds: all but the semantic one
    words: list[str]  # for the semantic stage, which learns words
    held_out: list[str]


def make_texts(sounds: int, words: int, held_out: int, seed: int = 0) -> Texts:
    """Different sentences, the same for the same seed; fewer are held out if the sounds have some of them.

    Raises TrainingError if a grammar has too few.
    """
    dealt = _deal(DOMAIN, words + held_out, seed, _LETTERS)
    others = _deal(SOUNDS, sounds + held_out, seed, _LETTERS_OF_SOUNDS)[held_out:]  # those that nano was trained with
    known = {tuple(spoken_words(text)) for text in others}
    unheard = [text for text in dealt[:held_out] if tuple(spoken_words(text)) not in known]
    return Texts(sounds=others, words=dealt[held_out:], held_out=unheard)


def _deal(grammar: Path, count: int, seed: int, letters: int) -> list[str]:
    rng = np.random.default_rng(seed)
    dealer = Dealer(read_grammar(grammar), rng, _LABELS)
    sentences: dict[tuple[str, ...], str] = {}
    for _ in range(_TRIES * count):
        spans = dealer.deal("sentence")
        words = tuple(word for span in spans for word in span.words)
        if words not in sentences and len(words) <= MAX_WORDS and sum(map(len, words)) <= letters:
            sentences[words] = _write(spans, rng)
        if len(sentences) == count:
            return [list(sentences.values())[i] for i in rng.permutation(count)]
    raise TrainingError(f"{grammar} has only {len(sentences)} different sentences: ask for fewer")


def write_texts(texts: Texts, folder: Path) -> None:
    """Write sounds.txt, words.txt and held_out.txt, a sentence a line. Raises TrainingError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            with replacing(folder / f"{name}.txt") as temporary:
                temporary.write_text("".join(f"{text}\n" for text in getattr(texts, name)), encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"cannot write the sentences to {folder}: {error}") from error


def read_texts(folder: Path) -> Texts:
    """What `write_texts` wrote. Raises TrainingError."""
    try:
        return Texts(**{name: (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines() for name in FILES})
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"cannot read the sentences in {folder}: {error}") from error


def spoken_words(text: str) -> list[str]:
    """The words that espeak-ng says for a text of the domain: "At 7:32!" → at, seven, thirty, two.

    Raises ValueError naming a character that has no place in such a text.
    """
    words: list[str] = []
    for match in _SPOKEN.finditer(text.lower()):
        if match["other"]:
            raise ValueError(f"{match['other']!r} in {text!r} is not a letter, digit or mark of the domain")
        words += [match["word"]] if match["word"] else _spoken_number(match)
    return words


def _spoken_number(match: re.Match[str]) -> list[str]:
    if match["hour"]:
        minute = spell(int(match["minute"]))
        return [*spell(int(match["hour"])), *(["zero"] if match["minute"][0] == "0" else []), *minute]
    words = spell(int(match["number"].replace(",", "")))
    if match["end"] == "%":
        return [*words, "percent"]
    return [*words[:-1], ordinal(words[-1])] if match["end"] else words


def _write(spans: Sequence[Span], rng: np.random.Generator) -> str:
    text = ""
    for span in spans:
        if span.rule in _MARKS:
            text += _MARKS[span.rule]
        else:
            text += " " * bool(text) + _written(span, rng)
    text = re.sub(r"\bi\b", "I", text)
    return text[0].upper() + text[1:]


def _written(span: Span, rng: np.random.Generator) -> str:
    if span.rule in _NAMES:
        return " ".join(span.words).capitalize()
    text = " ".join(span.words)
    if not span.rule:
        return text
    if rng.random() < _DIGITS:
        return _in_digits(span, rng)
    if rng.random() < _HYPHENS:
        return re.sub(r"(\w+ty) (?!hundred|thousand|percent)(\w+)", r"\1-\2", text)
    return text


def _in_digits(span: Span, rng: np.random.Generator) -> str:
    if span.rule == "clock":
        return f"{value(span.words[:1])}:{value(span.words[1:]):02d}"
    if span.rule == "percent":
        return f"{value(span.words[:-1])}{rng.choice(['%', ' percent'])}"
    if span.rule == "figures":
        return " ".join(str(value([word])) for word in span.words)
    number = value(span.words)
    if span.rule == "ordinal":
        return f"{number}{_SUFFIXES.get(number % 10 if number // 10 != 1 else 0, 'th')}"
    return f"{number:,}" if rng.random() < 0.5 or 1100 <= number < 2000 else str(number)  # those may be years
