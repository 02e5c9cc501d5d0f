"""Random EnCodecs in PyTorch, and the same weights in this project's module.

Effective weights are read from transformers' modules, which fold their weight norm themselves.
"""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import torch
from flax import nnx
from torch.nn import ELU, LSTM, Conv1d, ConvTranspose1d
from transformers import EncodecConfig as TorchEncodecConfig
from transformers import EncodecModel
from transformers.models.encodec.modeling_encodec import (
    EncodecConv1d,
    EncodecConvTranspose1d,
    EncodecLSTM,
    EncodecResnetBlock,
)

from bark_jax.config import EncodecConfig
from bark_jax.models.encodec import Encodec
from bark_jax.models.parameters import fill

Weights = Iterator[tuple[str, torch.Tensor]]


@torch.no_grad()
def torch_encodec(config: EncodecConfig, *, seed: int = 0) -> EncodecModel:
    """transformers' codec with random weights, norms and biases that keep the size of a signal on its way through."""
    torch.manual_seed(seed)
    model = EncodecModel(_torch_config(config)).eval()
    for module in model.modules():
        if isinstance(module, Conv1d | ConvTranspose1d):
            module.bias.uniform_(-0.1, 0.1)
            # Of a transposed convolution the norms are per input: an output sums over two taps of all inputs.
            norm = (module.out_channels * module.stride[0] / module.in_channels) ** 0.5 if module.transposed else 1.0
            module.parametrizations.weight.original0.uniform_(norm, 2 * norm)
    for i, layer in enumerate(model.quantizer.layers):
        layer.codebook.embed.normal_(std=0.8**i)
    return model


def jax_encodec(model: EncodecModel, config: EncodecConfig) -> Encodec:
    """The codec's weights in ours."""
    weights = {
        "quantizer.codebooks": torch.stack([layer.codebook.embed for layer in model.quantizer.layers]),
        **dict(_side_weights("encoder", model.encoder.layers)),
        **dict(_side_weights("decoder", model.decoder.layers)),
    }
    arrays = {name: jnp.asarray(weight.detach().numpy()) for name, weight in weights.items()}
    return fill(nnx.eval_shape(lambda: Encodec(config)), arrays)


def _torch_config(config: EncodecConfig) -> TorchEncodecConfig:
    bits = (config.codebook_size - 1).bit_length()
    frame_rate = -(-config.sample_rate // config.hop)
    return TorchEncodecConfig(
        sampling_rate=config.sample_rate,
        target_bandwidths=[(config.codebooks + 0.5) * bits * frame_rate / 1000],
        audio_channels=config.audio_channels,
        num_filters=config.filters,
        hidden_size=config.width,
        upsampling_ratios=config.ratios,
        kernel_size=config.kernel,
        last_kernel_size=config.last_kernel,
        residual_kernel_size=config.residual_kernel,
        compress=config.compress,
        num_lstm_layers=config.lstm_layers,
        codebook_size=config.codebook_size,
    )


def _side_weights(side: str, layers: Any) -> Weights:
    """Encoder and decoder hold the same kinds of layers, in different orders."""
    conv_in, *middle, conv_out = [layer for layer in layers if not isinstance(layer, ELU)]
    yield from _conv_weights(f"{side}.conv_in", conv_in)
    yield from _conv_weights(f"{side}.conv_out", conv_out)
    (lstm,) = [layer for layer in middle if isinstance(layer, EncodecLSTM)]
    yield from _lstm_weights(f"{side}.lstm", lstm.lstm)
    blocks = [layer for layer in middle if isinstance(layer, EncodecResnetBlock)]
    for i, block in enumerate(blocks):
        path = f"{side}.stages.{i}.residual"
        yield from _conv_weights(f"{path}.conv_in", block.block[1])
        yield from _conv_weights(f"{path}.conv_out", block.block[3])
        yield from _conv_weights(f"{path}.shortcut", block.shortcut)
    resamplers = [layer for layer in middle if isinstance(layer, EncodecConv1d | EncodecConvTranspose1d)]
    for i, layer in enumerate(resamplers):
        yield from _conv_weights(f"{side}.stages.{i}.{'downsample' if side == 'encoder' else 'upsample'}", layer)


def _conv_weights(path: str, layer: EncodecConv1d | EncodecConvTranspose1d) -> Weights:
    conv = layer.conv
    yield f"{path}.kernel", _subpixel_kernel(conv) if conv.transposed else conv.weight.permute(2, 1, 0)
    yield f"{path}.bias", conv.bias


def _subpixel_kernel(conv: ConvTranspose1d) -> torch.Tensor:
    """Input t adds the kernel's first half to the outputs of step t, and its second half to those of step t + 1."""
    now, after = conv.weight.permute(0, 2, 1).split(conv.stride[0], dim=1)  # [in, ratio, out] each
    return torch.stack([after, now]).flatten(2)


def _lstm_weights(path: str, lstm: LSTM) -> Weights:
    for i, (input_weight, hidden_weight, input_bias, hidden_bias) in enumerate(lstm.all_weights):
        yield f"{path}.layers.{i}.input_weight", input_weight
        yield f"{path}.layers.{i}.hidden_weight", hidden_weight
        yield f"{path}.layers.{i}.bias", input_bias + hidden_bias
