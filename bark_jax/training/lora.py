"""LoRA: low-rank adapters on the weights of Linear layers, trained while the network itself stays as it is.

Adapters are merged into the weights before every forward pass, W + α/rank · B·A, so that networks know nothing of them
and what is trained is exactly what the merged network computes. The price is the gradient of whole weights, one at a
time: of the memory of full training the optimiser's is saved, and of its time only the updates'.

Axes: O output features, I input features, R rank.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array

from bark_jax.errors import TrainingError
from bark_jax.training.config import LoraConfig

DOWN, UP = "lora_a.", "lora_b."  # before the dotted path of the weight


def target_paths(parameters: Mapping[str, Array], lora: LoraConfig) -> list[str]:
    """Dotted paths of the weights that get adapters. Raises TrainingError for a target that is not in the network."""
    layers = {path: path.split(".")[-2] for path in parameters if path.endswith(".weight")}
    unknown = sorted(set(lora.targets) - set(layers.values()))
    if unknown:
        names = ", ".join(sorted(set(layers.values()))) or "none"
        raise TrainingError(f"there is no Linear layer {', '.join(unknown)} to adapt: choose from {names}")
    return [path for path, layer in layers.items() if layer in lora.targets]


def start_adapters(parameters: Mapping[str, Array], lora: LoraConfig, key: Array) -> dict[str, Array]:
    """Float32 adapters that change nothing yet: A [R, I] is normal with variance 1/I, B [O, R] zero."""
    adapters = {}
    for index, path in enumerate(target_paths(parameters, lora)):
        outputs, inputs = parameters[path].shape
        normal = jax.random.normal(jax.random.fold_in(key, index), (lora.rank, inputs), jnp.float32)
        adapters[DOWN + path] = normal * inputs**-0.5
        adapters[UP + path] = jnp.zeros((outputs, lora.rank), jnp.float32)
    return adapters


def merge(parameters: Mapping[str, Array], adapters: Mapping[str, Array], lora: LoraConfig) -> dict[str, Array]:
    """The parameters of a plain network that does what the adapted one does; weights with adapters become float32."""
    merged = dict(parameters)
    for path in target_paths(parameters, lora):
        change = jnp.matmul(adapters[UP + path], adapters[DOWN + path], precision=jax.lax.Precision.HIGHEST)
        merged[path] = parameters[path].astype(jnp.float32) + lora.alpha / lora.rank * change
    return merged
