"""Parameters of the networks by dotted path: their shapes, and modules filled with them."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from bark_jax.config import BarkConfig
from bark_jax.models.encodec import Encodec
from bark_jax.models.fine_gpt import FineGPT
from bark_jax.models.gpt import GPT

Shape: TypeAlias = tuple[int, ...]

Put: TypeAlias = Callable[[str, np.ndarray], ArrayLike]
"""Called with the dotted path and the value of a parameter; what it returns takes its place in the network."""


class ParameterError(ValueError):
    """Tensors that are not a network's parameters."""


def abstract_network(
    config: BarkConfig, name: str, *, param_dtype: DTypeLike = jnp.float32, dtype: DTypeLike = jnp.float32
) -> nnx.Module:
    """The network `name` (one of NETWORKS) with shapes in place of arrays, at no cost in memory.

    param_dtype and dtype are those of the parameters and of the computation; the codec ignores both and is float32.
    """
    dtypes: dict[str, Any] = {"rngs": None, "param_dtype": jnp.dtype(param_dtype), "dtype": jnp.dtype(dtype)}
    builders = {
        "semantic": lambda: GPT(config.semantic.gpt, **dtypes),
        "coarse": lambda: GPT(config.coarse.gpt, **dtypes),
        "fine": lambda: FineGPT(config.fine.gpt, **dtypes),
        "codec": lambda: Encodec(config.codec, rngs=None),
    }
    network: nnx.Module = nnx.eval_shape(builders[name])
    return network


def parameter_shapes(config: BarkConfig, name: str) -> dict[str, Shape]:
    """Dotted path → shape of every parameter of the network `name`."""
    return {path: leaf.shape for path, leaf in parameters(abstract_network(config, name)).items()}


def fill(module: nnx.Module, tensors: Mapping[str, ArrayLike]) -> nnx.Module:
    """An abstract module with the tensors, named by dotted path, as its parameters: NumPy arrays stay on the host.

    Raises ParameterError with every missing, unknown and misshapen tensor.
    """
    leaves = parameters(module)
    problems = [f"{name} is missing" for name in leaves.keys() - tensors.keys()]
    problems += [f"{name} is unknown" for name in tensors.keys() - leaves.keys()]
    problems += [
        f"{name} has shape {np.shape(tensors[name])} instead of {leaf.shape}"
        for name, leaf in leaves.items()
        if name in tensors and np.shape(tensors[name]) != leaf.shape
    ]
    if problems:
        raise ParameterError("the tensors do not fit the network:\n  " + "\n  ".join(sorted(problems)))
    return map_parameters(lambda path, _: tensors[path], module)


def map_parameters(put: Put, network: nnx.Module) -> nnx.Module:
    """The network with what `put` returns in place of every parameter."""
    # Not nnx.split and nnx.merge: a module from the latter is part of a cycle, so its arrays would be freed late.
    return jax.tree_util.tree_map_with_path(lambda path, leaf: put(_dotted(path), leaf), network)


def parameters(module: nnx.Module) -> dict[str, Any]:
    """Dotted path → array, or its abstract stand-in, of every parameter: what `fill` takes."""
    return {_dotted(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(module)}


def held_dtype(network: nnx.Module) -> np.dtype[Any]:
    """What the matrices of a network are held in; beside int8, its vectors are float32."""
    return min((jnp.dtype(leaf.dtype) for leaf in jax.tree.leaves(network)), key=lambda dtype: dtype.itemsize)


def _dotted(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")  # which nnx.Param adds
