"""Recordings → semantic tokens of the published Bark, as the community makes them: HuBERT and a quantiser.

The tokenizer that Suno trained Bark with was never released. The quantisers were trained to predict, from HuBERT's
features of Bark's own audio, the tokens that it was made from; what they make of recordings is close enough for voices,
and nobody has published how close.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import Array

from bark_jax.audio import resample
from bark_jax.errors import InputError
from bark_jax.hearing.features import hear
from bark_jax.hearing.layout import Ears
from bark_jax.hearing.names import HUBERT
from bark_jax.models.encodec import LSTMState
from bark_jax.models.hubert import SAMPLE_RATE
from bark_jax.models.semantic_quantizer import SemanticQuantizer

BARK_RATE = 49.9  # tokens a second, as the published Bark counts them; the features come at 50, less one at the end
_BLOCK = 500  # features that the quantiser hears at once

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class HubertTokenizer:
    """A `SemanticTokenizer` for the published models. Raises InputError for ears without a quantiser."""

    ears: Ears

    def __post_init__(self) -> None:
        if self.ears.quantizer is None:
            raise InputError("this HuBERT has no quantiser: convert it again with --quantizer FILE")

    @property
    def quantizer(self) -> SemanticQuantizer:
        """Features → tokens."""
        assert self.ears.quantizer is not None
        return self.ears.quantizer

    @property
    def vocab(self) -> int:
        """10 000 with the published files."""
        return self.quantizer.config.vocab

    @property
    def rate_hz(self) -> float:
        """49.9."""
        return BARK_RATE

    @property
    def fingerprint(self) -> str:
        """Of the converted files, after "hubert"."""
        return f"{HUBERT}-{self.ears.fingerprint}"

    def __call__(self, waveform: Floats, sample_rate: int) -> npt.NDArray[np.int32]:
        """A mono waveform, float32 [N] at any sample rate → tokens, int32 [M], none for less than 25 ms."""
        if waveform.ndim != 1 or not np.isfinite(waveform).all():
            raise InputError(f"a waveform must be finite samples [N], not {waveform.dtype} {list(waveform.shape)}")
        if sample_rate != SAMPLE_RATE:
            waveform = resample(waveform, sample_rate, SAMPLE_RATE)
        states, tokens = self.quantizer.start(1), [np.zeros(0, np.int32)]
        for features in _blocks(hear(self.ears.hubert, waveform, self.ears.layer), _BLOCK):
            padded = np.zeros((1, _BLOCK, features.shape[1]), np.float32)  # only the last block is shorter
            padded[0, : len(features)] = features
            found, states = _quantize(self.quantizer, padded, states)
            tokens.append(np.asarray(found)[0, : len(features)])
        return np.concatenate(tokens)


def _blocks(pieces: Iterator[Floats], size: int) -> Iterator[Floats]:
    """The same rows in blocks of `size`, of which the last may be shorter."""
    waiting = next(pieces, None)
    while waiting is not None:
        following = next(pieces, None)
        rows = waiting if following is None else np.concatenate([waiting, following])
        whole = len(rows) if following is None else len(rows) // size * size
        yield from (rows[first : min(first + size, whole)] for first in range(0, whole, size))
        waiting = None if following is None else rows[whole:]


@jax.jit
def _quantize(
    quantizer: SemanticQuantizer, features: Array, states: tuple[LSTMState, ...]
) -> tuple[Array, tuple[LSTMState, ...]]:
    """Tokens int32 [B, T] of a block, and the states after it."""
    logits, after = quantizer(features, states)
    return logits.argmax(axis=-1).astype(jnp.int32), after
