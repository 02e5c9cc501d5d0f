"""HuBERT's features → Bark's semantic tokens: the network that the community trained for it.

Axes: B batch, T features, C channels, V vocabulary.

Two layers of LSTM, in version 1 another linear layer, then a linear layer to the vocabulary. Layout and versions are
those of `CustomTokenizer` in github.com/gitmylo/bark-voice-cloning-HuBERT-quantizer
(`bark_hubert_quantizer/customtokenizer.py`). There a token is the largest of logarithms of softmax, which is the
largest of the logits. Float32 throughout.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jax import Array

from bark_jax.models.encodec import LSTMLayer, LSTMState
from bark_jax.models.layers import Linear

LAYERS = 2  # of LSTM
INTERMEDIATE = 4096  # width of the linear layer that version 1 has
_FLOAT32 = {"param_dtype": jnp.float32, "dtype": jnp.float32}


@dataclass(frozen=True, kw_only=True)
class QuantizerConfig:
    """Sizes; the defaults are those of a file that does not state any."""

    inputs: int = 768
    width: int = 1024
    vocab: int = 10_000
    version: int = 0


class SemanticQuantizer(nnx.Module):
    """The network, fed from the left: it may hear a recording in pieces."""

    def __init__(self, config: QuantizerConfig) -> None:
        """Weights are zeros, to be filled."""
        inputs = (config.inputs, *[config.width] * (LAYERS - 1))
        self.lstm = nnx.List(LSTMLayer(config.width, own) for own in inputs)
        last = config.width
        if config.version == 1:
            self.intermediate = Linear(config.width, INTERMEDIATE, bias=True, **_FLOAT32)
            last = INTERMEDIATE
        self.head = Linear(last, config.vocab, bias=True, **_FLOAT32)
        self.config = config

    def __call__(self, features: Array, states: tuple[LSTMState, ...]) -> tuple[Array, tuple[LSTMState, ...]]:
        """A piece's features [B, T, C] and the layers' states before it → logits [B, T, V] and the states after."""
        x, after = features, []
        for layer, before in zip(self.lstm, states, strict=True):
            x, state = layer(x, before)
            after.append(state)
        if self.config.version == 1:
            x = self.intermediate(x)
        return self.head(x), tuple(after)

    def start(self, batch: int) -> tuple[LSTMState, ...]:
        """The states at the beginning: zeros."""
        zeros = jnp.zeros((batch, self.config.width), jnp.float32)
        return tuple((zeros, zeros) for _ in range(LAYERS))
