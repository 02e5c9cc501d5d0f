"""A training run, from clips to a network in the model's folder: what `bark-jax train` does.

    run_training(RunConfig.load("codec.toml"), "codec")

The folder of the run holds checkpoints, metrics.jsonl, events for TensorBoard and audio samples. A run that is there is
resumed: killed at any step and started again, it ends in the same network, bit for bit.
"""

import importlib.util
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import jax
import numpy as np
import optax
from filelock import FileLock, Timeout
from jax.sharding import Mesh

from bark_jax import checkpoint
from bark_jax.errors import DivergenceError, RunError, TrainingError
from bark_jax.interrupts import noticing_ctrl_c
from bark_jax.models.parameters import parameters
from bark_jax.sharding import fetch, is_first_host, wait_for_hosts
from bark_jax.text import load_tokenizer
from bark_jax.training.batches import Batch, CodecBatch
from bark_jax.training.checkpoints import Checkpoints
from bark_jax.training.dataset import open_audio, open_tokens
from bark_jax.training.feed import Examples, Feed, facts, hold_out, validation_batches
from bark_jax.training.logs import EVENTS, METRICS, Log, Meter
from bark_jax.training.run_config import RunConfig, Schedule
from bark_jax.training.samples import Samples, make_samples
from bark_jax.training.starting import (
    check_codec,
    check_model,
    check_semantic_tokens,
    first_network,
    identity,
    keep_semantic_tokens,
    prepare_model,
    read_model_config,
    with_codebooks,
)
from bark_jax.training.step import LossFunction, Metrics, Parameters, Trainer, TrainState

__all__ = ["RunConfig", "Schedule", "run_training"]

CHECKPOINTS, SAMPLES = "checkpoints", "samples"  # folders in that of the run

_LIBRARIES = ("grain", "orbax", "tensorboardX")  # that nothing else needs

Say: TypeAlias = Callable[[str], None]


def run_training(
    config: RunConfig,
    stage: str,
    *,
    clips: Sequence[Any] | None = None,
    restart: bool = False,
    mesh: Mesh | None = None,
    transform: optax.GradientTransformation | None = None,
    loss: LossFunction | None = None,
    say: Say = print,
) -> Path:
    """Train one network, one of `NETWORKS`, and write it into the model's folder: the path of its file.

    clips: in place of those in `config.data`: waveforms for the codec, else `Clip`s. restart: forget the run that is in
    the folder. mesh: several devices, see `bark_jax.sharding`; several processes share the folders, and the first of
    them writes the model, the log and the samples. transform, loss: an optimiser and a loss of one's own, see
    `Trainer`; a run continues with those it was begun with. say: is called with each line of the log.

    Ctrl-C saves a checkpoint, then raises KeyboardInterrupt. Raises TrainingError for what cannot be trained, and of
    its kinds RunError for what cannot be written or read in the folder of the run, and DivergenceError when the loss is
    not finite; CheckpointError for folders of models. Checkpoints written before an error remain.
    """
    check_libraries()
    model = read_model_config(config)
    trainer = Trainer(
        config=model, stage=stage, train=config.train, lora=config.lora, mesh=mesh, transform=transform,
        loss_function=loss,
    )  # fmt: skip
    if clips is None:
        clips = (open_audio if stage == "codec" else open_tokens)(config.data, model)
    check_codec(config, clips)
    check_semantic_tokens(config, stage, clips)
    with _locked(config.run):
        if is_first_host():
            prepare_model(config)
            if restart:
                _clear(config.run)
        wait_for_hosts("model and run folders are ready")
        return _train(trainer, config, clips, restart, say)


def check_libraries() -> None:
    """Raise TrainingError when a library that only training needs is not installed."""
    if missing := [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]:
        raise TrainingError(f"training needs {', '.join(missing)}: pip install '.[train]' in a checkout of bark_jax")


def _train(trainer: Trainer, config: RunConfig, clips: Sequence[Any], restart: bool, say: Say) -> Path:
    """Open everything, train, export."""
    schedule, seed, tokenizer = config.schedule, config.train.seed, load_tokenizer(config.model)
    training, held_out = hold_out(facts(clips, "name"), schedule.held_out)
    examples = Examples(
        trainer.config, trainer.stage, clips, training,
        tokenizer=tokenizer, seconds=config.seconds, history=config.history,
    )  # fmt: skip
    validation = validation_batches(examples.draw, held_out, batch=config.batch, seed=seed)
    heard = {examples.names[i]: clips[i] for i in held_out[: schedule.samples if schedule.sample_every else 0]}
    samples = make_samples(trainer, config.model, heard, tokenizer)
    feed = Feed(examples.draw, training, batch=config.batch, seed=seed, lengths=examples.lengths)
    store = Checkpoints(config.run / CHECKPOINTS, keep=schedule.keep, run=identity(trainer, config, clips))
    with feed, store:
        state, frozen, meter = _begin(trainer, config, feed, store, restart)
        if is_first_host():
            keep_semantic_tokens(config, trainer.stage, clips)
        step = int(state.step)
        with Log(config.run, step=step, steps=config.train.steps, say=say) as log:
            log.say(_describe(trainer, config, len(training), len(held_out), step))
            loop = _Loop(
                trainer=trainer, config=config, frozen=frozen, feed=feed, store=store, log=log, meter=meter,
                validation=validation, samples=samples, step=step,
            )  # fmt: skip
            return loop.run(state)


def _begin(
    trainer: Trainer, config: RunConfig, feed: Feed, store: Checkpoints, restart: bool
) -> tuple[TrainState, Parameters, Meter]:
    """The state, the frozen parameters and what is logged next: of the newest checkpoint, if there is one."""
    fresh = store.newest is None
    if fresh and not restart:
        check_model(config, trainer.stage)
    network = first_network(trainer, config)
    if trainer.stage == "codec" and fresh and not config.start:
        network = with_codebooks(network, cast(CodecBatch, feed.first()).waveform, config.train.seed)
    state, frozen = trainer.start(network)
    if fresh:
        return state, frozen, Meter()
    state, progress = store.restore(state)
    feed.restore(progress["feed"])
    return state, frozen, Meter(progress["meter"])


def _describe(trainer: Trainer, config: RunConfig, training: int, held_out: int, step: int) -> str:
    where = f"resumes at step {step}" if step else f"starts from {config.start or 'random weights'}"
    about = f"{trainer.stage}: {training} clips to learn, {held_out} held out; {config.run} {where}"
    if trainer.transform or config.train.warmup_steps is not None:
        return about
    return f"{about}; the learning rate rises for {config.train.warmup} steps (train.warmup_steps)"


@dataclass(kw_only=True)
class _Loop:
    """A run at work."""

    trainer: Trainer
    config: RunConfig
    frozen: Parameters
    feed: Feed
    store: Checkpoints
    log: Log
    meter: Meter
    validation: list[Batch]
    samples: Samples | None
    step: int  # steps taken
    compiled: bool = False

    def run(self, state: TrainState) -> Path:
        """All steps that are left; the network's file."""
        with noticing_ctrl_c(lambda: self.log.say("stopping after this step; Ctrl-C again stops at once")) as stopping:
            state = self._steps(state, stopping)
        self.store.wait()
        path = self._export(state)  # once more where the run was at its end already
        self.log.say(f"{self.trainer.stage} is trained: {path}")
        return path

    def _steps(self, state: TrainState, stopping: Callable[[], bool]) -> TrainState:
        waiting: Metrics | None = None  # read while the device is at the next step
        while self.step < self.config.train.steps:
            state, metrics = self.trainer.step(state, self.frozen, next(self.feed))
            self.step += 1
            if waiting is not None:
                self._count(waiting)
            waiting, stop, due = metrics, stopping(), self._due()
            if stop or due:
                self._count(metrics)
                waiting = None
            for act in due:
                act(state)
            if stop:
                self._stop(state)
        return state

    def _due(self) -> list[Callable[[TrainState], object]]:
        """What is to be done after this step; after the last one, all of it."""
        schedule = self.config.schedule
        acts: list[tuple[int, Callable[[TrainState], object]]] = [
            (schedule.log_every, self._log),
            (schedule.validate_every, self._validate),
            (schedule.sample_every, self._sample),
            (schedule.save_every, self._save),
            (schedule.export_every, self._export),
        ]
        last = self.step == self.config.train.steps
        return [act for every, act in acts if every and (last or self.step % every == 0)]

    def _count(self, metrics: Metrics) -> None:
        """Wait for a step. Raises DivergenceError when it is not finite."""
        try:
            metrics.check()
        except TrainingError as error:
            newest = self.store.newest
            kept = f"checkpoint {newest} in {self.store.folder} is kept" if newest else "no checkpoint was saved yet"
            raise DivergenceError(f"{error}, and start again (--restart); {kept}") from error
        self.meter.add(metrics)
        if not self.compiled:
            self.compiled = True
            self.log.restart_clock(self.step)

    def _log(self, state: TrainState) -> None:
        self.log.train(self.step, self.meter.take(), float(self.trainer.learning_rate(state.step - 1)))
        self.store.check()

    def _validate(self, state: TrainState) -> None:
        if not self.validation:
            return
        losses = [self.trainer.evaluate(state, self.frozen, batch) for batch in self.validation]
        terms = sum(float(loss.terms) for loss in losses)
        parts = {name: sum(float(loss.parts[name]) for loss in losses) / terms for name in losses[0].parts}
        self.log.validation(self.step, {"loss": sum(float(loss.total) for loss in losses) / terms, **parts})

    def _sample(self, state: TrainState) -> None:
        if self.samples is not None:
            folder = self.config.run / SAMPLES / f"step-{self.step:06d}"
            self.samples.write(folder, self.trainer.network(state, self.frozen))

    def _save(self, state: TrainState) -> None:
        self.store.save(self.step, state, {"feed": self.feed.state, "meter": self.meter.state})

    def _export(self, state: TrainState) -> Path:
        trainer = self.trainer
        network = parameters(trainer.network(state, self.frozen))
        tensors = ((path, np.array(fetch(value))) for path, value in network.items())
        if is_first_host():
            try:
                checkpoint.write_network(self.config.model, trainer.stage, trainer.config, tensors)
            except checkpoint.CheckpointError as error:
                raise RunError(f"{error}; the checkpoints in {self.store.folder} are whole") from error
        else:
            for _ in tensors:  # fetching needs all processes
                pass
        wait_for_hosts(f"exported at step {self.step}")
        return self.config.model / f"{trainer.stage}.safetensors"

    def _stop(self, state: TrainState) -> None:
        self._save(state)
        self.store.wait()
        raise KeyboardInterrupt(
            f"interrupted: step {self.step} is saved in {self.store.folder}; the same command resumes there"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Only one run at a time works in a folder, which is made: one process of each rank. Raises RunError."""
    rank = jax.process_index()
    lock = FileLock(folder / (f".lock-{rank}" if rank else ".lock"), timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise RunError(f"another training run is using {folder}: wait for it, or choose another folder") from error
    except OSError as error:
        raise RunError(f"cannot write to {folder}: {error}") from error
    try:
        yield
    finally:
        lock.release()


def _clear(folder: Path) -> None:
    """Forget the run in a folder; what else is there stays."""
    for name in (CHECKPOINTS, SAMPLES, EVENTS):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / METRICS).unlink(missing_ok=True)
