"""First weights of a network that is to be trained, drawn as its authors drew theirs."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

Shape: TypeAlias = tuple[int, ...]
Draw: TypeAlias = Callable[[Array, Shape], Array]  # (typed key, shape) → float32 numbers
Scale: TypeAlias = Callable[[str, Shape], float | None]  # (dotted path, shape) → what they are multiplied by

_DEVIATION = 0.02  # GPT-2's, of all weights and embeddings


def draw_transformer(network: nnx.Module, layers: int, rngs: nnx.Rngs | int | None) -> None:
    """Give a transformer GPT-2's first weights, in place, from keys or a seed; None leaves it as it is.

    Normal with a deviation of 0.02, that of each block's two outputs into the residual stream divided by √(2 · layers);
    biases are 0, scales of norms 1.
    """

    def deviation(path: str, shape: Shape) -> float | None:
        if path.endswith((".bias", ".scale")):
            return None
        residual = path.endswith(("attention_out.weight", "mlp_out.weight"))
        return _DEVIATION / math.sqrt(2 * layers) if residual else _DEVIATION

    _draw(network, jax.random.normal, deviation, rngs)


def draw_codec(codec: nnx.Module, rngs: nnx.Rngs | int | None) -> None:
    """Give a codec PyTorch's first weights, in place, as `draw_transformer` does.

    Uniform, ± 1 / √fan-in; biases are 0; codewords are normal.
    """

    def bound(path: str, shape: Shape) -> float | None:
        if path.endswith((".bias", "codebooks")):
            return None
        kernel = path.endswith(".kernel")  # [k, I, O]; other weights are [O, I]
        return 1 / math.sqrt(math.prod(shape[:-1]) if kernel else shape[-1])

    rngs = nnx.Rngs(rngs) if isinstance(rngs, int) else rngs
    _draw(codec, _uniform, bound, rngs)
    _draw(codec, jax.random.normal, lambda path, _: 1.0 if path.endswith("codebooks") else None, rngs)


def _uniform(key: Array, shape: Shape) -> Array:
    """Numbers between -1 and 1."""
    return jax.random.uniform(key, shape, minval=-1, maxval=1)


def _draw(network: nnx.Module, draw: Draw, scale: Scale, rngs: nnx.Rngs | int | None) -> None:
    """Fill the parameters that have a scale."""
    if rngs is None:
        return
    rngs = nnx.Rngs(rngs) if isinstance(rngs, int) else rngs
    chosen = [(p, factor) for path, p in _parameters(network) if (factor := scale(path, p.shape)) is not None]
    plan = tuple((parameter.shape, factor, parameter.dtype) for parameter, factor in chosen)
    for (parameter, _), value in zip(chosen, _drawn(draw, plan, rngs.params()), strict=True):
        parameter[...] = value


@partial(jax.jit, static_argnums=(0, 1))
def _drawn(draw: Draw, plan: tuple[tuple[Shape, float, DTypeLike], ...], key: Array) -> list[Array]:
    """All at once: a draw for each shape would compile a program for each."""
    ends = list(accumulate(math.prod(shape) for shape, _, _ in plan))
    parts = zip(jnp.split(draw(key, (ends[-1],)), ends[:-1]), plan, strict=True)
    return [(part.reshape(shape) * scale).astype(dtype) for part, (shape, scale, dtype) in parts]


def _parameters(network: nnx.Module) -> Iterator[tuple[str, Any]]:
    """Dotted path and variable of every parameter."""
    for path, node in nnx.iter_graph(network):
        if isinstance(node, nnx.Param):
            yield ".".join(map(str, path)), node
