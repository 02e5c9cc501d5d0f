"""The language of a text: the one that is given, else the voice's, else a guess, else English."""

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from bark_jax.speech.sentences import LANGUAGES, check_language
from bark_jax.voices.voice import Voice

_SAMPLE = 1000  # characters of a text that a guess is made from
_ENOUGH = 30  # letters: fewer in Latin script are too short to guess from
_SURE = 0.99  # probability from which a guess counts

_SCRIPTS = {  # letters that only one of Bark's languages has; Chinese characters are Japanese where there are kana
    "ko": r"[\uac00-\ud7a3\u1100-\u11ff\u3130-\u318f]",
    "ja": r"[\u3041-\u30ff]",
    "hi": r"[\u0900-\u097f]",
    "ru": r"[\u0400-\u04ff]",
    "zh": r"[\u3400-\u4dbf\u4e00-\u9fff]",
}
_PUBLISHED = re.compile(r"(?:^|[/\\])([a-z]{2})_speaker_\d")  # v2/de_speaker_1
_NO_WORDS = re.compile(r"\[[^\[\]]*\]|<[^<>]*>|https?://\S+|[^\w\s'’.]|[\d_]")


class Language(NamedTuple):
    """A language and what it was taken from."""

    tag: str  # of `sentences.LANGUAGES`
    reason: str  # for people: "of the voice v2/de_speaker_1"


ENGLISH = Language("en", "the default")


def choose_language(given: str | None, voices: Iterable[Voice | None], text: str) -> Language:
    """The language of a text that these voices speak, the default one first.

    Voices that disagree say nothing. Raises TextError for a given language that is none of Bark's.
    """
    if given is not None:
        check_language(given)
        return Language(given, "as given")
    first, *others = [*voices, None]
    for group in ([first], others):
        known = {tag: voice for voice in group if voice and (tag := language_of(voice))}
        if len(known) == 1:
            tag, voice = known.popitem()
            return Language(tag, f"of the voice {voice.name}" if voice.name else "of the voice")
    guess = guess_language(text)
    return Language(guess, "guessed from the text") if guess else ENGLISH


def language_of(voice: Voice) -> str | None:
    """The language in a voice's metadata, else in its name if that is of a published voice."""
    published = _PUBLISHED.search(voice.name or "")
    tag = (voice.metadata.language or (published[1] if published else "")).partition("-")[0]
    return tag if tag in LANGUAGES else None


def guess_language(text: str) -> str | None:
    """The language that the script of a text decides, or its words if there are enough; None if neither does."""
    sample = _NO_WORDS.sub(" ", text[:_SAMPLE])
    letters = sum(map(str.isalpha, sample))
    for language, script in _SCRIPTS.items():
        if 3 * len(re.findall(script, sample)) > letters > 0:
            return language
    if letters < _ENOUGH:
        return None
    tag, probability = _identifier().classify(" ".join(sample.split()))
    return str(tag) if probability >= _SURE else None


@cache
def _identifier() -> Any:
    """Its model comes with py3langid. It chooses among Bark's languages alone."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped]

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    return identifier
