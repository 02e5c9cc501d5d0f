"""A judge of speech that knows the domain: pocketsphinx with the domain's grammar."""

import importlib.util
from pathlib import Path

import numpy as np

from bark_jax.audio import Waveform, pcm_bytes, resample
from bark_jax.errors import TrainingError
from bark_jax.training.recipes.nano.grammar import DOMAIN

SAMPLE_RATE = 16_000  # Hz, of pocketsphinx's model of American English
_SILENCE = 0.3  # seconds before and after, in which the recogniser settles


class Recognizer:
    """Waveform → words of one sentence of a grammar. Raises TrainingError when pocketsphinx is not installed."""

    def __init__(self, grammar: Path = DOMAIN) -> None:
        if importlib.util.find_spec("pocketsphinx") is None:
            raise TrainingError("pocketsphinx, which listens to the speech, is not installed: pip install pocketsphinx")
        from pocketsphinx import Decoder

        self._decoder = Decoder(jsgf=str(grammar), samprate=float(SAMPLE_RATE), loglevel="FATAL")

    def __call__(self, waveform: Waveform, sample_rate: int) -> list[str]:
        """The words heard in a mono waveform [N]; none if it is no sentence of the grammar."""
        waveform = np.pad(resample(waveform, sample_rate, SAMPLE_RATE), round(_SILENCE * SAMPLE_RATE))
        self._decoder.start_utt()
        self._decoder.process_raw(pcm_bytes(waveform), full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        return hypothesis.hypstr.split() if hypothesis else []
