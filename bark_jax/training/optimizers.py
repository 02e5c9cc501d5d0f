"""Optimisers, from optax: AdamW, or Muon for the matrices of a transformer's blocks, with warm-up and cosine.

Axes: O output features, I input features.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from bark_jax.training.config import TrainConfig

MUON_BETA = 0.95  # its momentum
MUON_STEP = 0.2  # root mean square of its updates at a learning rate of 1: what AdamW's are like
_FUSED = "qkv_projection.weight"  # three matrices in one, [3·O, I]


def learning_rate(train: TrainConfig, step: Array) -> Array:
    """Of the step after `step` others, float32: a line up to the highest, at `warmup`, then half a cosine."""
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=train.learning_rate / (train.warmup + 1), peak_value=train.learning_rate,
        warmup_steps=train.warmup, decay_steps=train.steps, end_value=train.final_learning_rate * train.learning_rate,
    )  # fmt: skip
    with jax.numpy_dtype_promotion("standard"):  # optax mixes its step count with floats
        return jnp.asarray(schedule(step), jnp.float32)


def make_optimizer(train: TrainConfig) -> optax.GradientTransformation:
    """Clipping, then the optimiser that the configuration names."""
    rate = partial(learning_rate, train)
    chosen = optax.adamw(
        rate, train.beta1, train.beta2,
        weight_decay=train.weight_decay, mask=partial(jax.tree.map, lambda x: x.ndim > 1),
    )  # fmt: skip
    if train.optimizer == "muon":
        chosen = optax.partition({"muon": _muon(train, rate), "adamw": chosen}, _choose)
    return optax.chain(optax.clip_by_global_norm(train.clip_norm), chosen)


def innermost(path: tuple[Any, ...]) -> str:
    """The name of the parameter that a leaf of an optimiser's state belongs to; "" if to none."""
    names = [key.key for key in path if isinstance(key, jax.tree_util.DictKey)]
    return str(names[-1]) if names else ""


def _choose(parameters: Mapping[str, Array]) -> dict[str, str]:
    """Muon for the matrices of a transformer's blocks, AdamW for its vectors, embeddings and head."""
    return {path: "muon" if path.startswith("blocks.") and x.ndim == 2 else "adamw" for path, x in parameters.items()}


def _muon(train: TrainConfig, rate: Callable[[Array], Array]) -> optax.GradientTransformation:
    """For matrices, with steps as large as AdamW's would be; queries, keys and values are matrices of their own."""
    axes = optax.contrib.MuonDimensionNumbers(reduction_axis=-2, output_axis=-1)
    inner = optax.contrib.muon(
        rate, beta=MUON_BETA, weight_decay=train.weight_decay, consistent_rms=MUON_STEP,
        muon_weight_dimension_numbers=partial(jax.tree.map, lambda x: axes),
    )  # fmt: skip

    def update(updates: Any, state: Any, parameters: Any = None) -> tuple[Any, Any]:
        changes, after = inner.update(*map(_split, (updates, state, parameters)))
        return _join(changes), _join(after)

    return optax.GradientTransformation(lambda parameters: _join(inner.init(_split(parameters))), update)


def _split(tree: Any) -> Any:
    """Fused matrices [3·O, I] as [3, O, I]; axes before the last two are a batch to Muon."""
    return _reshape_fused(tree, lambda x: x.reshape(3, -1, x.shape[-1]))


def _join(tree: Any) -> Any:
    """The other way, so that a state has the shapes of the parameters."""
    return _reshape_fused(tree, lambda x: x.reshape(-1, x.shape[-1]))


def _reshape_fused(tree: Any, reshape: Callable[[Array], Array]) -> Any:
    return jax.tree_util.tree_map_with_path(lambda path, x: reshape(x) if innermost(path).endswith(_FUSED) else x, tree)
