"""First weights of a network that is to be trained, drawn as its authors drew theirs."""

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

Shape: TypeAlias = tuple[int, ...]
Initialiser: TypeAlias = Callable[[Array, Shape, DTypeLike], Array]  # (typed key, shape, dtype) → a parameter

_DEVIATION = 0.02  # GPT-2's, of all weights and embeddings


def draw_transformer(network: nnx.Module, layers: int, rngs: nnx.Rngs | int | None) -> None:
    """Give a transformer GPT-2's first weights, in place, from keys or a seed; None leaves it as it is.

    Normal with a deviation of 0.02, that of each block's two outputs into the residual stream divided by √(2 · layers);
    biases are 0, scales of norms 1.
    """

    def of(path: str) -> Initialiser | None:
        if path.endswith((".bias", ".scale")):
            return None
        residual = path.endswith(("attention_out.weight", "mlp_out.weight"))
        return jax.nn.initializers.normal(_DEVIATION / math.sqrt(2 * layers) if residual else _DEVIATION)

    _draw(network, of, rngs)


def draw_codec(codec: nnx.Module, rngs: nnx.Rngs | int | None) -> None:
    """Give a codec PyTorch's first weights, in place, as `draw_transformer` does.

    Uniform, ± 1 / √fan-in; biases are 0; codewords are normal.
    """

    def of(path: str) -> Initialiser | None:
        if path.endswith(".bias"):
            return None
        if path.endswith("codebooks"):
            return jax.nn.initializers.normal(1.0)
        return _uniform_kernel if path.endswith(".kernel") else _uniform_rows

    _draw(codec, of, rngs)


def _uniform_kernel(key: Array, shape: Shape, dtype: DTypeLike) -> Array:
    """Kernel [k, I, O]."""
    bound = 1 / math.sqrt(math.prod(shape[:-1]))
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def _uniform_rows(key: Array, shape: Shape, dtype: DTypeLike) -> Array:
    """Weight [O, I]."""
    bound = 1 / math.sqrt(shape[-1])
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def _draw(network: nnx.Module, of: Callable[[str], Initialiser | None], rngs: nnx.Rngs | int | None) -> None:
    if rngs is None:
        return
    rngs = nnx.Rngs(rngs) if isinstance(rngs, int) else rngs
    for path, parameter in _parameters(network):
        initialiser = of(path)
        if initialiser is not None:
            value = initialiser(rngs.params(), parameter.shape, jnp.float32)
            parameter[...] = value.astype(parameter.dtype)


def _parameters(network: nnx.Module) -> Iterator[tuple[str, Any]]:
    """Dotted path and variable of every parameter."""
    for path, node in nnx.iter_graph(network):
        if isinstance(node, nnx.Param):
            yield ".".join(map(str, path)), node
