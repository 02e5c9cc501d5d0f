"""EnCodec 24 kHz: SEANet encoder and decoder around a residual vector quantiser. Float32 throughout.

Axes: B batch, T time (samples, frames or anything between), C channels, K codebooks, V codewords, R ratio.

Activations are [B, T, C]. All convolutions are causal, so padding on the right of a batch changes nothing to its left,
and the decoder may be fed a clip in pieces (`DecoderState`). Weight norm is folded at conversion, and a transposed
convolution of kernel 2R and stride R is stored as the sub-pixel convolution it equals: kernel 2 over (x[t−1], x[t])
with R·C outputs (measured: under half the time on CPU).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from bark_jax.config import EncodecConfig
from bark_jax.models.convolution import convolve
from bark_jax.models.initialisers import draw_codec
from bark_jax.models.layers import project

LSTMState = tuple[Array, Array]  # hidden and cell, each [B, C]


class DecoderState(NamedTuple):
    """What the decoder remembers of the pieces before."""

    begun: Array  # bool: false before the first piece
    contexts: tuple[Array, ...]  # [B, k − 1, C]: the last inputs of every convolution wider than 1, in order
    lstm: tuple[LSTMState, ...]  # one per layer


def pad_reflect(x: Array, left: int, right: int = 0) -> Array:
    """Pad [B, T, C] along T by reflection; where T is too short to be reflected, zeros are appended for the purpose."""
    missing = max(0, max(left, right) - x.shape[1] + 1)
    x = jnp.pad(x, ((0, 0), (0, missing), (0, 0)))
    x = jnp.pad(x, ((0, 0), (left, right), (0, 0)), mode="reflect")
    return x[:, : x.shape[1] - missing]


def elu(x: Array) -> Array:
    """ELU with exp(x) − 1: `expm1` is more exact near 0, which the sums to come do not keep, and slower on CPU."""
    return jnp.where(x > 0, x, jnp.exp(jnp.minimum(x, 0)) - 1)


class Pieces:
    """Puts in front of every convolution's input what it remembers of the piece before; at the beginning, padding."""

    def __init__(self, state: DecoderState) -> None:
        self.begun = state.begun
        self.before = iter(state.contexts)
        self.contexts: list[Array] = []

    def reflect(self, x: Array, left: int, right: int = 0) -> Array:
        """In place of `pad_reflect`."""
        if not left:
            return x
        return self._after(jnp.where(self.begun, next(self.before), pad_reflect(x, left)[:, :left]), x)

    def zeros(self, x: Array) -> Array:
        """One zero in front, at the beginning."""
        return self._after(next(self.before), x)

    def _after(self, before: Array, x: Array) -> Array:
        x = jnp.concatenate([before, x], axis=1)
        self.contexts.append(x[:, x.shape[1] - before.shape[1] :])
        return x


Pad = Callable[[Array, int, int], Array]  # of a signal [B, T, C], samples on the left and on the right


class Conv(nnx.Module):
    """Causal convolution, kernel [k, I, O]: padded on the left, and on the right to whole strides."""

    def __init__(self, inputs: int, outputs: int, width: int, stride: int = 1) -> None:
        self.kernel = nnx.Param(jnp.zeros((width, inputs, outputs), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(outputs, jnp.float32))
        self.stride = stride

    def __call__(self, x: Array, pad: Pad = pad_reflect) -> Array:
        """[B, T, I] → [B, ⌈T / stride⌉, O]."""
        x = pad(x, self.kernel.shape[0] - self.stride, -x.shape[1] % self.stride)
        return convolve(x, self.kernel[...], self.stride) + self.bias[...]


class Upsample(nnx.Module):
    """Transposed convolution of kernel 2R and stride R, its right end trimmed, as a sub-pixel convolution."""

    def __init__(self, inputs: int, outputs: int, ratio: int) -> None:
        self.kernel = nnx.Param(jnp.zeros((2, inputs, ratio * outputs), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(outputs, jnp.float32))

    def __call__(self, x: Array) -> Array:
        """A signal and what comes before it, [B, 1 + T, I] → [B, T·R, O]."""
        y = convolve(x, self.kernel[...])  # [B, T, R·O]
        return y.reshape(x.shape[0], -1, self.bias.shape[0]) + self.bias[...]


class Residual(nnx.Module):
    """Two convolutions through fewer channels, beside a shortcut of kernel 1."""

    def __init__(self, channels: int, config: EncodecConfig) -> None:
        narrow = channels // config.compress
        self.conv_in = Conv(channels, narrow, config.residual_kernel)
        self.conv_out = Conv(narrow, channels, 1)
        self.shortcut = Conv(channels, channels, 1)

    def __call__(self, x: Array, pad: Pad = pad_reflect) -> Array:
        """[B, T, C] → [B, T, C]."""
        return self.shortcut(x) + self.conv_out(elu(self.conv_in(elu(x), pad)))


class LSTMLayer(nnx.Module):
    """One layer; gates are stacked as PyTorch does: input, forget, cell, output."""

    def __init__(self, width: int, inputs: int | None = None) -> None:
        """inputs: their width, by default that of the layer."""
        self.input_weight = nnx.Param(jnp.zeros((4 * width, inputs or width), jnp.float32))
        self.hidden_weight = nnx.Param(jnp.zeros((4 * width, width), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(4 * width, jnp.float32))

    def __call__(self, x: Array, state: LSTMState) -> tuple[Array, LSTMState]:
        """[B, T, C] and the state before → [B, T, C] and the state after. Inputs are projected before the scan."""

        def step(state: LSTMState, projected: Array) -> tuple[LSTMState, Array]:
            hidden, cell = state
            gates = projected + project(hidden, self.hidden_weight[...], jnp.float32)
            i, f, g, o = jnp.split(gates, 4, axis=-1)
            cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
            hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
            return (hidden, cell), hidden

        projected = project(x, self.input_weight[...], jnp.float32) + self.bias[...]
        state, outputs = jax.lax.scan(step, state, projected.swapaxes(0, 1))
        return outputs.swapaxes(0, 1), state


class LSTM(nnx.Module):
    """Stacked LSTM layers with one skip connection around all of them."""

    def __init__(self, width: int, layers: int) -> None:
        self.layers = nnx.List(LSTMLayer(width) for _ in range(layers))

    def __call__(self, x: Array, states: Sequence[LSTMState]) -> tuple[Array, tuple[LSTMState, ...]]:
        """[B, T, C] and the layers' states before → [B, T, C] and the states after."""
        y, after = x, []
        for layer, before in zip(self.layers, states, strict=True):
            y, state = layer(y, before)
            after.append(state)
        return x + y, tuple(after)

    def start(self, batch: int) -> tuple[LSTMState, ...]:
        """The states at the beginning: zeros."""
        zeros = jnp.zeros((batch, self.layers[0].hidden_weight.shape[1]), jnp.float32)
        return tuple((zeros, zeros) for _ in self.layers)


class EncoderStage(nnx.Module):
    """A residual block, then fewer and wider time steps."""

    def __init__(self, channels: int, ratio: int, config: EncodecConfig) -> None:
        self.residual = Residual(channels, config)
        self.downsample = Conv(channels, 2 * channels, 2 * ratio, ratio)

    def __call__(self, x: Array) -> Array:
        """[B, T, C] → [B, ⌈T / R⌉, 2C]."""
        return self.downsample(elu(self.residual(x)))


class DecoderStage(nnx.Module):
    """More and narrower time steps, then a residual block."""

    def __init__(self, channels: int, ratio: int, config: EncodecConfig) -> None:
        self.upsample = Upsample(channels, channels // 2, ratio)
        self.residual = Residual(channels // 2, config)

    def __call__(self, x: Array, pieces: Pieces) -> Array:
        """[B, T, C] → [B, T·R, C / 2]."""
        return self.residual(self.upsample(pieces.zeros(elu(x))), pieces.reflect)


class Encoder(nnx.Module):
    """Waveform → latent vectors."""

    def __init__(self, config: EncodecConfig) -> None:
        widest = config.filters * 2 ** len(config.ratios)
        self.conv_in = Conv(config.audio_channels, config.filters, config.kernel)
        self.stages = nnx.List(
            EncoderStage(config.filters * 2**i, ratio, config) for i, ratio in enumerate(reversed(config.ratios))
        )
        self.lstm = LSTM(widest, config.lstm_layers)
        self.conv_out = Conv(widest, config.width, config.last_kernel)

    def __call__(self, waveform: Array) -> Array:
        """[B, samples, audio channels] → [B, ⌈samples / hop⌉, width]."""
        x = self.conv_in(waveform)
        for stage in self.stages:
            x = stage(x)
        x, _ = self.lstm(x, self.lstm.start(len(x)))
        return self.conv_out(elu(x))


class Decoder(nnx.Module):
    """Latent vectors → waveform."""

    def __init__(self, config: EncodecConfig) -> None:
        widest = config.filters * 2 ** len(config.ratios)
        self.conv_in = Conv(config.width, widest, config.kernel)
        self.lstm = LSTM(widest, config.lstm_layers)
        self.stages = nnx.List(DecoderStage(widest // 2**i, ratio, config) for i, ratio in enumerate(config.ratios))
        self.conv_out = Conv(config.filters, config.audio_channels, config.last_kernel)

    def __call__(self, latents: Array, state: DecoderState) -> tuple[Array, DecoderState]:
        """A piece [B, T, width] and the state before it → [B, T · hop, audio channels] and the state after."""
        pieces = Pieces(state)
        x, lstm = self.lstm(self.conv_in(latents, pieces.reflect), state.lstm)
        for stage in self.stages:
            x = stage(x, pieces)
        x = self.conv_out(elu(x), pieces.reflect)
        assert len(pieces.contexts) == len(state.contexts)  # `start` lists them in the order of use
        return x, DecoderState(jnp.array(True), tuple(pieces.contexts), lstm)

    def start(self, batch: int) -> DecoderState:
        """The state before the first piece."""
        stages = [layer for stage in self.stages for layer in (stage.upsample, stage.residual.conv_in)]
        shapes = [layer.kernel.shape for layer in (self.conv_in, *stages, self.conv_out)]
        contexts = tuple(jnp.zeros((batch, width - 1, inputs), jnp.float32) for width, inputs, _ in shapes)
        return DecoderState(jnp.array(False), contexts, self.lstm.start(batch))


class Quantizer(nnx.Module):
    """Residual vector quantiser: each codebook refines what those before it left over."""

    def __init__(self, config: EncodecConfig) -> None:
        self.codebooks = nnx.Param(jnp.zeros((config.codebooks, config.codebook_size, config.width), jnp.float32))

    def decode(self, codes: Array) -> Array:
        """Codes [B, K, T] of the first K codebooks → the sum of their codewords [B, T, width]."""
        tables = self.codebooks[: codes.shape[1]]  # [K, V, C]
        return tables[jnp.arange(codes.shape[1])[:, None], codes].sum(axis=1)

    def encode(self, latents: Array) -> Array:
        """Latents [B, T, width] → int32 codes [B, K, T], each the codeword nearest to the rest of the vector."""

        def quantize(rest: Array, table: Array) -> tuple[Array, Array]:
            codes = nearest(rest, table)
            return rest - table[codes], codes

        _, codes = jax.lax.scan(quantize, latents, self.codebooks[...])  # [K, B, T]
        return codes.swapaxes(0, 1)


def nearest(vectors: Array, table: Array) -> Array:
    """Vectors [..., C] → the int32 index [...] of the row nearest to each in a table [V, C]."""
    # The published sum, |vector|² included: another would round, and so break ties, differently.
    squared = jnp.square(vectors).sum(-1, keepdims=True)
    distance = squared - 2 * project(vectors, table, jnp.float32) + jnp.square(table).sum(-1)  # [..., V]
    return distance.argmin(axis=-1).astype(jnp.int32)


class Encodec(nnx.Module):
    """The codec."""

    def __init__(self, config: EncodecConfig, *, rngs: nnx.Rngs | int | None = 0) -> None:
        """rngs: of the first weights (see `models.initialisers`), or a seed; None for zeros, to be filled."""
        self.encoder = Encoder(config)
        self.quantizer = Quantizer(config)
        self.decoder = Decoder(config)
        self.hop = config.hop  # samples per frame
        draw_codec(self, rngs)

    def encode(self, waveform: Array) -> Array:
        """Mono waveform [B, samples] float32 → codes [B, K, ⌈samples / hop⌉] int32.

        Samples that do not fill the last frame are continued by reflection, in every layer again, as transformers does.
        """
        return self.quantizer.encode(self.encoder(waveform[..., None]))

    def decode(self, codes: Array, lengths: Array | None = None) -> Array:
        """Codes [B, K, T] int32 of the first K codebooks → mono waveform [B, T · hop] float32.

        lengths [B] int32, default T: frames of each row that count. Row b up to lengths[b] · hop is what it would be
        alone.
        """
        lengths = jnp.full(len(codes), codes.shape[2]) if lengths is None else lengths
        return self.decode_piece(codes, lengths, self.decoder.start(len(codes)))[0]

    def decode_piece(self, codes: Array, lengths: Array, state: DecoderState) -> tuple[Array, DecoderState]:
        """One piece of longer rows; lengths [B] count from where it begins.

        The first piece, after `decoder.start`, is as long as the first kernel or all there is. The vectors after a
        row's end are zeroed because the first convolution, on a row shorter than its kernel, reflects zeros. (Later
        signals are long enough for theirs; BarkConfig sees to it.)
        """
        present = jnp.arange(codes.shape[2]) < lengths[:, None]
        latents = jnp.where(present[..., None], self.quantizer.decode(codes), 0)
        waveform, state = self.decoder(latents, state)
        return waveform.squeeze(-1), state
