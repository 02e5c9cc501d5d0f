"""What a run starts from, and what it is: the folder of its model, its first network, its identity."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from bark_jax import checkpoint
from bark_jax.errors import TrainingError
from bark_jax.files import sha256
from bark_jax.loading import resolve
from bark_jax.models.initialisers import random_network
from bark_jax.models.parameters import map_parameters
from bark_jax.training.codec import sample_codebooks
from bark_jax.training.feed import facts
from bark_jax.training.run_config import RunConfig
from bark_jax.training.step import CODEBOOKS, Trainer


def prepare_model(config: RunConfig) -> None:
    """See that there is a folder of the model: a copy of `start`, if that is given and the folder is not there."""
    if config.start and not config.model.exists():
        checkpoint.copy_checkpoint(resolve(config.start, progress=False), config.model)


def check_model(config: RunConfig, stage: str) -> None:
    """Raise TrainingError when a run from random weights would replace a network that another run has made."""
    network = config.model / f"{stage}.safetensors"
    if not config.start and network.exists():
        raise TrainingError(
            f"{network} is there already, and {config.run} holds no checkpoint to go on from: delete the network, "
            "begin again over it (--restart), or name a copy of its folder as start to train it further"
        )


def check_codec(config: RunConfig, clips: Sequence[Any]) -> None:
    """Raise TrainingError when the clips' codes are of another codec than the model's."""
    file, made_with = config.model / "codec.safetensors", getattr(clips, "codec", None)
    if made_with is not None and file.exists() and _hash(file) != made_with:
        raise TrainingError(f"the codes in {config.data} are of another codec than {file}: prepare the data again")


def first_network(trainer: Trainer, config: RunConfig) -> nnx.Module:
    """The network of `start`, or one with random weights. Raises CheckpointError when `start` does not fit."""
    if config.start:
        return checkpoint.read_network(resolve(config.start, progress=False), trainer.stage, trainer.config)
    return random_network(trainer.config, trainer.stage, jax.random.key(config.train.seed))


def with_codebooks(codec: Any, waveform: np.ndarray, seed: int) -> nnx.Module:
    """An untrained codec with codebooks of what its encoder makes of waveforms [B, N]."""
    tables = sample_codebooks(codec, waveform, jax.random.key(seed))
    return map_parameters(lambda path, value: tables if path == CODEBOOKS else value, codec)


def identity(trainer: Trainer, config: RunConfig, clips: Sequence[Any]) -> dict[str, Any]:
    """All that decides what a run computes, as JSON holds it: a run that differs in it is another one."""
    names = json.dumps(facts(clips, "name")).encode()
    start = resolve(config.start, progress=False) / f"{trainer.stage}.safetensors" if config.start else None
    values = {
        "stage": trainer.stage,
        "model": dataclasses.asdict(trainer.config),
        "train": dataclasses.asdict(config.train),
        "lora": dataclasses.asdict(config.lora) if config.lora else None,
        "start": _hash(start) if start else None,
        "batch": config.batch,
        "seconds": config.seconds,
        "history": config.history,
        "schedule": {"held_out": config.schedule.held_out},
        "data": {
            "clips": len(clips),
            "names": hashlib.sha256(names).hexdigest(),
            "codec": getattr(clips, "codec", None),
        },
    }
    return json.loads(json.dumps(values))


def _hash(path: Path) -> str:
    """SHA-256 of a file. Raises TrainingError."""
    try:
        return sha256(path)
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}") from error
