"""Which device holds what: the weights and the batches of a model on several devices or hosts.

A mesh has an axis "data", over which the rows of a batch are spread, and may have an axis "model", over which the
transformers' weights are spread (tensor parallelism):

    mesh = jax.make_mesh((4, 2), ("data", "model"))
    bark = Bark.from_pretrained("suno/bark", mesh=mesh)

Networks and stages know nothing of it: `RULES` places every parameter, the stages place their batches where the
network is, and XLA's partitioner inserts the communication.

Several hosts. Every process runs the same program: `jax.distributed.initialize()` first, then a mesh over
`jax.devices()`, which are those of all hosts. Each reads the checkpoint from its own disk and keeps only its part.
All must make the same calls with the same texts, voices, seeds and settings, and all get all the results; save them in
one (`if jax.process_index() == 0`).
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import TypeVar

import jax
import numpy as np
from flax import nnx
from jax import Array
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

T = TypeVar("T")

DATA, MODEL = "data", "model"  # names of mesh axes

# Dotted path of a parameter → how it is split; the first pattern that fits decides, what fits none is on every device.
# Each half of a block begins with split outputs and ends with split inputs, so that one sum over the devices closes it.
# What lies between blocks, attention and heads are the same on all devices of "model": with the heads or the KV cache
# split too, XLA splits the residual stream or gathers whole weights in every step (seen in the compiled programs).
RULES: tuple[tuple[str, P], ...] = (
    ("blocks.*.qkv_projection.*", P(MODEL)),
    ("blocks.*.attention_out.weight", P(None, MODEL)),
    ("blocks.*.mlp_in.*", P(MODEL)),
    ("blocks.*.mlp_out.weight", P(None, MODEL)),
    ("token_embedding", P(MODEL)),
)


def check_mesh(mesh: Mesh | None) -> Mesh | None:
    """The mesh with its axes left to XLA's partitioner (`AxisType.Auto`; `jax.make_mesh` makes them Explicit).

    Raises ValueError unless its axes are "data" and, if at all, "model".
    """
    if mesh is None:
        return None
    if DATA not in mesh.axis_names or not set(mesh.axis_names) <= {DATA, MODEL}:
        raise ValueError(f'a mesh has the axes "data" and, if at all, "model", not {mesh.axis_names}')
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * mesh.devices.ndim)


def parameter_sharding(path: str, mesh: Mesh) -> NamedSharding:
    """How the parameter of that dotted path (`blocks.0.mlp_in.weight`) lies on the mesh: by RULES."""
    specs = (spec for pattern, spec in RULES if fnmatchcase(path, pattern))
    return NamedSharding(mesh, next(specs, P()) if MODEL in mesh.axis_names else P())


def put_parameter(path: str, value: np.ndarray, mesh: Mesh | None = None) -> Array:
    """A parameter on the devices of the mesh, or on the default device. Nothing is sent between hosts.

    Raises ValueError when its sizes do not allow the split.
    """
    if mesh is None:
        return jax.device_put(value)  # jnp.asarray runs a program for each shape
    sharding = parameter_sharding(path, mesh)
    try:
        sharding.shard_shape(value.shape)
    except ValueError as error:
        parts = mesh.shape[MODEL]
        raise ValueError(f'{path} {value.shape} cannot be split over the {parts} devices of "model"') from error
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])


def batch_sharding(network: nnx.Module) -> NamedSharding | None:
    """How batches for this network are spread: their rows over "data"; None if it is not on a mesh."""
    sharding = getattr(jax.tree.leaves(network)[0], "sharding", None)
    return NamedSharding(sharding.mesh, P(DATA)) if isinstance(sharding, NamedSharding) else None


def put_batch(tree: T, sharding: NamedSharding | None) -> T:
    """Arrays whose first axis is the batch, and scalars, laid out as `batch_sharding` says.

    For arguments on the host and for what a compiled program makes.
    """
    return tree if sharding is None else _constrain(tree, sharding)


@partial(jax.jit, static_argnums=1)
def _constrain(tree: T, sharding: NamedSharding) -> T:
    scalar = NamedSharding(sharding.mesh, P())
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, sharding if x.ndim else scalar), tree)


def pad_batch(items: Sequence[T], mesh: Mesh | None) -> list[T]:
    """The items, and copies of the first until there are equally many for every part of "data"."""
    missing = -len(items) % mesh.shape[DATA] if mesh else 0
    return [*items, *list(items[:1]) * missing]


def is_first_host() -> bool:
    """Whether this process is the one that writes files; there is one such among those of a program."""
    return jax.process_index() == 0


def wait_for_hosts(point: str) -> None:
    """Until all processes of the program are at the point of that name; nothing in a single one."""
    multihost_utils.sync_global_devices(point)


def fetch(array: Array) -> np.ndarray:
    """The whole array, also where other hosts hold parts of it; then all of them must fetch it."""
    if array.is_fully_addressable:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))
