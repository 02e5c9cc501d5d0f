"""One training step of any of the four networks: gradients, the optimiser, moving averages, codebooks.

    trainer = Trainer(config=bark.config, stage="semantic", train=TrainConfig(steps=1000))
    state, frozen = trainer.start(bark.semantic)
    for batch in batches:
        state, metrics = trainer.step(state, frozen, batch)
        metrics.check()
    network = trainer.network(state, frozen)

A step takes the state's buffers for the state it returns: the old one cannot be used again. What is frozen is no part
of the state, so no step can change it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from bark_jax.config import NETWORKS, BarkConfig
from bark_jax.errors import TrainingError
from bark_jax.models.parameters import ParameterError, abstract_network, fill, parameters
from bark_jax.sharding import DATA, check_mesh, parameter_sharding, put_batch, put_parameter
from bark_jax.training import codec, lora, losses
from bark_jax.training.batches import Batch
from bark_jax.training.codec import Assignments, Codebooks
from bark_jax.training.config import LoraConfig, TrainConfig
from bark_jax.training.losses import Loss
from bark_jax.training.optimizers import innermost, learning_rate, make_optimizer

Parameters: TypeAlias = dict[str, Array]
"""Dotted path → value; adapters have their prefix before the path of the weight."""

CODEBOOKS = "quantizer.codebooks"  # follow moving averages instead of gradients

LossFunction: TypeAlias = Callable[[Any, BarkConfig, Any, Array], Loss | tuple[Loss, Assignments]]
"""(network, config, batch, key) → the loss to minimise, traced by `jax.jit`; for the codec, its assignments too."""

_LOSSES: dict[str, Callable[..., Loss]] = {
    "semantic": losses.semantic_loss,
    "coarse": losses.coarse_loss,
    "fine": losses.fine_loss,
}


class TrainState(NamedTuple):
    """All that steps change."""

    step: Array  # int32: steps taken
    trained: Parameters  # float32
    optimizer: optax.OptState
    average: Parameters  # float32: moving average of `trained`
    codebooks: Codebooks | None  # of the codec


class Metrics(NamedTuple):
    """What one step found, on the device until it is looked at."""

    step: Array  # int32: steps taken before this one
    loss: Array  # float32: mean over the batch
    parts: dict[str, Array]  # float32: means of what the loss consists of
    gradient_norm: Array  # float32: before clipping
    learning_rate: Array  # float32; NaN with a transform of one's own
    finite: Array  # bool: whether loss and gradients are; if not, the state is what it was

    def check(self) -> None:
        """Wait for the step. Raises TrainingError when its loss or gradients are not finite."""
        if not self.finite:
            raise TrainingError(
                f"step {int(self.step)} has the loss {float(self.loss)} and a gradient norm of "
                f"{float(self.gradient_norm)}; the state before it is kept: look at the batch, or train with a lower "
                "learning_rate"
            )


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """How one network is trained. It holds no arrays; equal trainers share their compiled programs.

    stage: one of `NETWORKS`; lora: train adapters instead of the parameters; mesh: several devices, see
    `bark_jax.sharding`. transform: in place of the clipping, optimiser and schedule of `train`, whose settings of those
    are not used. loss_function: in place of the stage's own loss; it is called with the network, the BarkConfig, the
    batch and a typed key that differs from step to step.

    Raises TrainingError for an unknown stage, for adapters of the codec, which has no layers for them, and for Muon
    where there are no whole matrices of blocks: in the codec and in adapters.
    """

    config: BarkConfig
    stage: str
    train: TrainConfig
    lora: LoraConfig | None = None
    mesh: Mesh | None = None
    transform: optax.GradientTransformation | None = None
    loss_function: LossFunction | None = None

    def __post_init__(self) -> None:
        if self.stage not in NETWORKS:
            raise TrainingError(f"there is no stage {self.stage!r}: choose from {', '.join(NETWORKS)}")
        if self.lora and self.stage == "codec":
            raise TrainingError("the codec has no Linear layers to adapt: train it without lora")
        if self.train.optimizer == "muon" and (self.stage == "codec" or self.lora):
            raise TrainingError("muon is for whole matrices of transformers' blocks: choose the optimizer adamw")
        object.__setattr__(self, "mesh", check_mesh(self.mesh))

    def start(self, network: nnx.Module) -> tuple[TrainState, Parameters]:
        """The state before the first step, and the frozen parameters: those of the network itself where they can be.

        Raises TrainingError when the network is not one of this configuration, and for patterns and targets that fit
        nothing; ValueError when the mesh does not divide a parameter.
        """
        try:
            filled = parameters(fill(self.abstract(), parameters(network)))
        except ParameterError as error:
            raise TrainingError(f"the network is not a {self.stage} network of this configuration: {error}") from error
        codebooks = filled.pop(CODEBOOKS, None)
        if self.lora:
            trained = lora.start_adapters(filled, self.lora, jax.random.key(self.train.seed))
            frozen = filled
        else:
            chosen = self._trainable(filled)
            trained = {path: value for path, value in filled.items() if path in chosen}
            frozen = {path: value for path, value in filled.items() if path not in chosen}
        trained = {path: put_parameter(path, np.array(x, np.float32), self.mesh) for path, x in trained.items()}
        state = TrainState(
            step=jnp.zeros((), jnp.int32),
            trained=trained,
            optimizer=jax.tree.map(jnp.array, self.optimizer().init(trained)),  # no buffer twice: steps donate them
            average=jax.tree.map(jnp.copy, trained),
            codebooks=None if codebooks is None else codec.start_codebooks(jnp.asarray(codebooks)),
        )
        return self._laid_out(state, jax.device_put), {path: self._put(path, x) for path, x in frozen.items()}

    def step(self, state: TrainState, frozen: Parameters, batch: Batch) -> tuple[TrainState, Metrics]:
        """One step on a batch whose rows the microbatches, and the mesh's "data", divide. Returns at once.

        Raises TrainingError for another number of rows. A loss or gradients that are not finite leave the state as it
        is: see `Metrics.check`.
        """
        rows, parts = len(batch.learned), self.train.microbatches * (self.mesh.shape[DATA] if self.mesh else 1)
        if rows % parts:
            raise TrainingError(f"a batch of {rows} rows cannot be divided into {parts} equal parts")
        return _step(self, state, frozen, self._put_rows(batch))

    def evaluate(self, state: TrainState, frozen: Parameters, batch: Batch) -> Loss:
        """The loss of the averaged parameters; the codec uses all its codebooks. Sums of several batches may be added.

        Any number of rows that the mesh's "data" divides.
        """
        return _evaluate(self, state, frozen, self._put_rows(batch))

    def network(self, state: TrainState, frozen: Parameters, *, averaged: bool = True) -> nnx.Module:
        """A plain network with what was learned, adapters merged, for `Bark` or `checkpoint.write_checkpoint`.

        averaged: of the moving averages rather than of the last step. It shares arrays with the state and `frozen`:
        it is to be used, or copied, before the next step.
        """
        return self.assemble(state.average if averaged else state.trained, frozen, state.codebooks)

    def assemble(self, trained: Parameters, frozen: Parameters, codebooks: Codebooks | None) -> nnx.Module:
        """The network of these parameters."""
        parameters = lora.merge(frozen, trained, self.lora) if self.lora else frozen | trained
        return fill(self.abstract(), parameters if codebooks is None else parameters | {CODEBOOKS: codebooks.table})

    def abstract(self) -> nnx.Module:
        """The network with shapes in place of arrays."""
        return abstract_network(self.config, self.stage, dtype=self.train.dtype)

    def optimizer(self) -> optax.GradientTransformation:
        """One's own, or that of the configuration."""
        return make_optimizer(self.train) if self.transform is None else self.transform

    def learning_rate(self, step: Array) -> Array:
        """Of the step after `step` others, float32; NaN with a transform of one's own."""
        return jnp.float32(math.nan) if self.transform else learning_rate(self.train, step)

    def loss(self, network: Any, batch: Any, key: Array) -> tuple[Loss, Assignments | None]:
        """Of this stage; the codec's brings what its codewords were chosen for. Raises TrainingError without those."""
        if self.loss_function:
            found = self.loss_function(network, self.config, batch, key)
            loss, assignments = (found, None) if isinstance(found, Loss) else found
            if self.stage == "codec" and assignments is None:
                raise TrainingError("a loss for the codec must return (Loss, Assignments), as codec_loss does")
            return loss, assignments
        if self.stage == "codec":
            return codec.codec_loss(network, self.config.codec.sample_rate, self.train.codec, batch, key)
        return _LOSSES[self.stage](network, self.config, batch), None

    def _trainable(self, parameters: Mapping[str, Any]) -> set[str]:
        """Paths that a pattern fits. Raises TrainingError for a pattern that fits none."""
        chosen = {
            pattern: {path for path in parameters if fnmatchcase(path, pattern)} for pattern in self.train.trainable
        }
        if idle := [pattern for pattern, paths in chosen.items() if not paths]:
            some = ", ".join(list(parameters)[:3])
            raise TrainingError(f"no {self.stage} parameter is called {', '.join(idle)}: there are {some} …")
        return {path for paths in chosen.values() for path in paths}

    def _put(self, path: str, value: Any) -> Array:
        return jnp.asarray(value) if self.mesh is None else put_parameter(path, np.asarray(value), self.mesh)

    def _put_rows(self, batch: Batch) -> Batch:
        return put_batch(batch, NamedSharding(self.mesh, P(DATA)) if self.mesh else None)

    def _laid_out(self, state: TrainState, put: Any) -> TrainState:
        """The state on the mesh: parameters, and the optimiser's moments of them, by the rules of inference."""
        if self.mesh is None:
            return state
        mesh, shapes = self.mesh, {name: x.shape for name, x in state.trained.items()}

        def place(path: tuple[Any, ...], x: Array) -> Array:
            name = innermost(path)  # what has not the shape of its parameter is on every device
            return put(x, parameter_sharding(name if shapes.get(name) == x.shape else "", mesh))

        return jax.tree_util.tree_map_with_path(place, state)


@partial(jax.jit, static_argnums=0, donate_argnames="state")
def _step(trainer: Trainer, state: TrainState, frozen: Parameters, batch: Batch) -> tuple[TrainState, Metrics]:
    train = trainer.train
    key = jax.random.fold_in(jax.random.key(train.seed), state.step)
    gradients, loss, assignments = _accumulate(trainer, state, frozen, batch, key)
    norm = optax.tree.norm(gradients)
    finite = jnp.isfinite(loss.mean) & jnp.isfinite(norm)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes its step count with floats
        updates, optimizer = trainer.optimizer().update(gradients, state.optimizer, state.trained)
    trained = optax.apply_updates(state.trained, updates)
    after = TrainState(
        step=state.step + 1,
        trained=trained,
        optimizer=optimizer,
        average=_average(state, trained, train.average_decay),
        codebooks=state.codebooks and codec.update_codebooks(state.codebooks, assignments, train.codec),
    )
    after = jax.tree.map(lambda new, old: jnp.where(finite, new, old), after, state)
    parts = {name: part / loss.terms for name, part in loss.parts.items()}
    metrics = Metrics(state.step, loss.mean, parts, norm, trainer.learning_rate(state.step), finite)
    return trainer._laid_out(after, jax.lax.with_sharding_constraint), metrics


def _accumulate(
    trainer: Trainer, state: TrainState, frozen: Parameters, batch: Batch, key: Array
) -> tuple[Parameters, Loss, Any]:
    """Gradients of the mean loss, the loss, and the assignments of every microbatch on a first axis."""
    parts = trainer.train.microbatches

    def total(trained: Parameters, batch: Batch, key: Array) -> tuple[Array, Any]:
        loss, assignments = trainer.loss(trainer.assemble(trained, frozen, state.codebooks), batch, key)
        return loss.total, (loss, assignments)

    def add(gradients: Parameters, inputs: tuple[Batch, Array]) -> tuple[Parameters, Any]:
        (_, found), new = jax.value_and_grad(total, has_aux=True)(state.trained, *inputs)
        return jax.tree.map(jnp.add, gradients, new), found

    # A microbatch takes every parts-th row rather than neighbouring rows, so that each device keeps its own.
    batches = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)
    nothing = jax.tree.map(jnp.zeros_like, state.trained)
    gradients, (sums, assignments) = jax.lax.scan(add, nothing, (batches, jax.random.split(key, parts)))
    loss = jax.tree.map(lambda x: x.sum(axis=0), sums)
    return jax.tree.map(lambda x: x / loss.terms, gradients), loss, assignments


def _average(state: TrainState, trained: Parameters, decay: float) -> Parameters:
    """The moving average; its first steps forget faster, so that the beginning does not stay in it."""
    kept = jnp.minimum(decay, (1 + state.step) / (10 + state.step))
    return jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, state.average, trained)


@partial(jax.jit, static_argnums=0)
def _evaluate(trainer: Trainer, state: TrainState, frozen: Parameters, batch: Batch) -> Loss:
    train = replace(trainer.train, codec=replace(trainer.train.codec, dropout=0.0))
    network = trainer.network(state, frozen)
    return replace(trainer, train=train).loss(network, batch, jax.random.key(0))[0]
