"""A judge of speech that knows the domain: pocketsphinx with the domain's words and a language model of its sentences.

The grammar itself is too large for pocketsphinx: its search takes tens of seconds for each second of speech. So the
language model is of trigrams, counted in sentences that are dealt from the grammar.
"""

import importlib.util
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bark_jax.audio import Waveform, pcm_bytes, resample
from bark_jax.errors import TrainingError
from recipes.nano.grammar import Choice, Dealer, read_grammar, words_of

SAMPLE_RATE = 16_000  # Hz, of pocketsphinx's model of American English
SENTENCES = 150_000  # that the language model is of
_SEED = 1  # of these sentences, where what is trained and held out is of another, and of the noise
_DISCOUNT = 0.05  # share of probability that is kept for words that were not seen behind others
_SILENCE = 0.3  # seconds before and after, in which the recogniser settles


class Recognizer:
    """Waveform → words of the domain.

    sentences: that its language model is of. Raises TrainingError when pocketsphinx is not installed.
    """

    def __init__(self, sentences: int = SENTENCES) -> None:
        if importlib.util.find_spec("pocketsphinx") is None:
            raise TrainingError("pocketsphinx, which listens to the speech, is not installed: pip install pocketsphinx")
        from pocketsphinx import Decoder  # type: ignore[import-untyped]

        rules = read_grammar()
        with tempfile.TemporaryDirectory() as folder:
            model, dictionary = Path(folder) / "domain.arpa", Path(folder) / "domain.dict"
            _language_model(rules, sentences).write_file(str(model))
            dictionary.write_text("".join(_pronunciations(words_of(rules))), encoding="utf-8")
            self._decoder = Decoder(
                lm=str(model), dict=str(dictionary), samprate=float(SAMPLE_RATE), loglevel="FATAL",
                dither=True, seed=_SEED,  # espeak-ng's silence is digital: without noise, errors in its speech double
            )  # fmt: skip

    def __call__(self, waveform: Waveform, sample_rate: int) -> list[str]:
        """The words heard in a mono waveform [N]."""
        waveform = np.pad(resample(waveform, sample_rate, SAMPLE_RATE), round(_SILENCE * SAMPLE_RATE))
        self._decoder.start_utt()
        self._decoder.process_raw(pcm_bytes(waveform), full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        return hypothesis.hypstr.split() if hypothesis else []


def _language_model(rules: dict[str, Choice], sentences: int) -> Any:
    from pocketsphinx.lm import ArpaBoLM  # type: ignore[import-untyped]

    dealer = Dealer(rules, np.random.default_rng(_SEED))
    dealt = ("".join(f"{word} " for span in dealer.deal("sentence") for word in span.words) for _ in range(sentences))
    model = ArpaBoLM(text="\n".join(dealt), add_start=True, discount_mass=_DISCOUNT)
    model.compute()
    return model


def _pronunciations(words: set[str]) -> list[str]:
    """The lines of pocketsphinx's dictionary that are of these words, "read(2)" as well as "read"."""
    from pocketsphinx import get_model_path

    lines = Path(get_model_path("en-us/cmudict-en-us.dict")).read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if re.sub(r"\(\d+\)$", "", line.partition(" ")[0]) in words]
