"""Random transformers in PyTorch, and the same weights in this project's modules."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from transformers.initialization import no_init_weights
from transformers.models.bark.configuration_bark import BarkFineConfig, BarkSubModelConfig
from transformers.models.bark.modeling_bark import BarkCausalModel, BarkFineModel

from bark_jax.config import FineGPTConfig, GPTConfig
from bark_jax.models.fine_gpt import FineGPT
from bark_jax.models.gpt import GPT
from bark_jax.models.parameters import fill


def torch_gpt(config: GPTConfig, *, seed: int = 0, std: float = 0.02) -> BarkCausalModel:
    """transformers' causal model with normal weights of standard deviation `std`."""
    sizes = {"input_vocab_size": config.input_vocab, "output_vocab_size": config.output_vocab}
    with no_init_weights():
        model = BarkCausalModel(BarkSubModelConfig(**_trunk_sizes(config), **sizes))
    return _randomised(model, seed, std)


def torch_fine_gpt(config: FineGPTConfig, *, seed: int = 0, std: float = 0.02) -> BarkFineModel:
    """transformers' fine model with normal weights of standard deviation `std`, heads tied to the embedding tables."""
    sizes = {"input_vocab_size": config.vocab, "output_vocab_size": config.vocab, "n_codes_total": config.codebooks}
    with no_init_weights():
        model = BarkFineModel(BarkFineConfig(**_trunk_sizes(config), **sizes))
    model.tie_weights()
    for head, table in zip(model.lm_heads, model.input_embeds_layers[1:], strict=True):
        assert head.weight is table.weight
    return _randomised(model, seed, std)


def jax_gpt(model: BarkCausalModel, config: GPTConfig) -> GPT:
    """The causal model's weights in ours."""
    weights = {
        "token_embedding": model.input_embeds_layer.weight,
        "position_embedding": model.position_embeds_layer.weight,
        "head.weight": model.lm_head.weight,
        **dict(_trunk_weights(model)),
    }
    return fill(nnx.eval_shape(lambda: GPT(config)), _arrays(weights))


def jax_fine_gpt(model: BarkFineModel, config: FineGPTConfig) -> FineGPT:
    """The fine model's weights in ours, which has one array for all tables and heads."""
    weights = {
        "code_embeddings": torch.stack([table.weight for table in model.input_embeds_layers]),
        "position_embedding": model.position_embeds_layer.weight,
        **dict(_trunk_weights(model)),
    }
    return fill(nnx.eval_shape(lambda: FineGPT(config)), _arrays(weights))


def _trunk_sizes(config: GPTConfig | FineGPTConfig) -> dict[str, Any]:
    return {
        "num_layers": config.layers,
        "num_heads": config.heads,
        "hidden_size": config.width,
        "block_size": config.block_size,
        "bias": config.bias,
    }


@torch.no_grad()
def _randomised(model: Any, seed: int, std: float) -> Any:
    """Scales of layer norms around 1, all else around 0, biases included: no parameter is without effect."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        centre = 1.0 if "layernorm" in name and name.endswith("weight") else 0.0
        parameter.normal_(centre, std, generator=generator)
    return model.eval()


def _trunk_weights(model: BarkCausalModel | BarkFineModel) -> Iterator[tuple[str, torch.Tensor]]:
    yield from _norm_weights("norm", model.layernorm_final)
    for i, layer in enumerate(model.layers):
        yield from _norm_weights(f"blocks.{i}.attention_norm", layer.layernorm_1)
        yield from _linear_weights(f"blocks.{i}.qkv_projection", layer.attn.att_proj)
        yield from _linear_weights(f"blocks.{i}.attention_out", layer.attn.out_proj)
        yield from _norm_weights(f"blocks.{i}.mlp_norm", layer.layernorm_2)
        yield from _linear_weights(f"blocks.{i}.mlp_in", layer.mlp.in_proj)
        yield from _linear_weights(f"blocks.{i}.mlp_out", layer.mlp.out_proj)


def _norm_weights(path: str, norm: torch.nn.LayerNorm) -> Iterator[tuple[str, torch.Tensor]]:
    yield f"{path}.scale", norm.weight
    if norm.bias is not None:
        yield f"{path}.bias", norm.bias


def _linear_weights(path: str, linear: torch.nn.Linear) -> Iterator[tuple[str, torch.Tensor]]:
    yield f"{path}.weight", linear.weight
    if linear.bias is not None:
        yield f"{path}.bias", linear.bias


def _arrays(weights: dict[str, torch.Tensor]) -> dict[str, jax.Array]:
    return {path: jnp.asarray(weight.detach().numpy()) for path, weight in weights.items()}


def relative_error(ours: Any, theirs: Any) -> float:
    """‖ours − theirs‖ / ‖theirs‖, in float64."""
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert a.shape == b.shape
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
