"""Which language a text is taken to be in, and from what."""

import pytest

from bark_jax.speech.labels import warn_of_marks
from bark_jax.speech.language import choose_language, guess_language
from bark_jax.text import TextError, TextWarning
from bark_jax.voices.voice import Voice, VoiceMetadata

from voice_arrays import arrays

GUESSES = {
    "en": "The weather was cold and windy, so nobody wanted to leave the house.",
    "de": "Wir sehen uns am 3. Oktober im Garten und trinken dort zusammen Kaffee.",
    "es": "La comisión ya había hablado muy largamente con la Sra. Gómez y los otros.",
    "fr": "La commission avait déjà parlé très longuement avec les autres du plan.",
    "it": "La commissione aveva già parlato molto a lungo con gli altri del piano.",
    "pt": "A comissão já tinha falado muito longamente com os outros sobre o plano.",
    "pl": "Komisja rozmawiała już bardzo długo z innymi o planie na przyszły rok.",
    "tr": "Komisyon gelecek yılın planı hakkında diğerleriyle uzun süre konuşmuştu.",
    "ru": "Да.", "ko": "안녕.", "ja": "東京に行きます。", "zh": "你好。", "hi": "नमस्ते।",
}  # fmt: skip


@pytest.mark.parametrize("language", GUESSES)
def test_guesses(language: str) -> None:
    assert guess_language(GUESSES[language]) == language


@pytest.mark.parametrize("text", ["Bonjour", "La casa.", "Hmm, la la", "[laughs] 123", ""])
def test_short_texts_are_not_guessed(text: str) -> None:
    assert guess_language(text) is None


def voice(name: str, language: str | None = None) -> Voice:
    return Voice.from_arrays(arrays(), name=name, metadata=VoiceMetadata(language=language))


def test_what_is_given_comes_first_then_the_voices_then_the_guess() -> None:
    german, spanish, brazilian = voice("v2/de_speaker_1"), voice("mine", "es"), voice("hers", "pt-BR")
    assert choose_language("fr", [german], GUESSES["es"]) == ("fr", "as given")
    assert choose_language(None, [german, spanish], GUESSES["fr"]) == ("de", "of the voice v2/de_speaker_1")
    assert choose_language(None, [None, brazilian], GUESSES["fr"]) == ("pt", "of the voice hers")
    assert choose_language(None, [None, german, spanish], GUESSES["fr"]) == ("fr", "guessed from the text")
    assert choose_language(None, [voice("x", "nl")], "Hoi") == ("en", "the default")
    with pytest.raises(TextError, match="unknown language 'nl'"):
        choose_language("nl", [], "Hoi")


def test_marks_that_one_clip_does_not_obey_are_named_once() -> None:
    with pytest.warns(TextWarning, match=r"\[pause 2\], <break/>, Anna:, Tom:; use Bark.speak") as caught:
        warn_of_marks(["[pause 2] Hi <break/>", "Anna: Hi.\n- **Tom:** Hi."], stacklevel=2)
    assert len(caught) == 1
    warn_of_marks(["MAN: Hi.\nWOMAN: Hi. [laughs] Note: this."], stacklevel=2)
