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
from bark_jax.config import BarkConfig
from bark_jax.errors import TrainingError
from bark_jax.files import sha256
from bark_jax.hearing.names import HUBERT
from bark_jax.loading import resolve
from bark_jax.models.parameters import map_parameters
from bark_jax.models.random_networks import random_network
from bark_jax.training.codec import sample_codebooks
from bark_jax.training.feed import facts
from bark_jax.training.prepare import SPEAKING, has_learned_tokens
from bark_jax.training.run_config import RunConfig
from bark_jax.training.semantic_tokens import CLUSTERS, KMeansTokenizer
from bark_jax.training.shards import AGAIN
from bark_jax.training.step import CODEBOOKS, Trainer


def read_model_config(config: RunConfig) -> BarkConfig:
    """Of the model's folder, or of `start` where the folder is not there yet. Raises CheckpointError."""
    return checkpoint.read_config(_model_folder(config))


def prepare_model(config: RunConfig) -> None:
    """Make the model's folder, a copy of `start`, if that is given and the folder is not there."""
    if config.start and not config.model.exists():
        checkpoint.copy_checkpoint(resolve(config.start, progress=False), config.model)


def _model_folder(config: RunConfig) -> Path:
    """Where the model's files are before the run."""
    return config.model if config.model.exists() or not config.start else resolve(config.start, progress=False)


def check_model(config: RunConfig, stage: str) -> None:
    """Raise TrainingError when a run from random weights would replace a network that another run has made."""
    network = config.model / f"{stage}.safetensors"
    if not config.start and network.exists():
        raise TrainingError(
            f"{network} is there already, and {config.run} holds no checkpoint to resume from: delete the network, "
            "replace it (--restart), or name a copy of its folder as start to train it further"
        )


def check_codec(config: RunConfig, clips: Sequence[Any]) -> None:
    """Raise TrainingError when the clips' codes are of another codec than the model's."""
    file, made_with = _model_folder(config) / "codec.safetensors", getattr(clips, "codec", None)
    if made_with is not None and file.exists() and _hash(file) != made_with:
        raise TrainingError(f"the codes in {config.data} are of another codec than {file}: prepare the data again")


def check_semantic_tokens(config: RunConfig, stage: str, clips: Sequence[Any]) -> None:
    """Raise TrainingError when the clips' semantic tokens are not those that the model speaks.

    A model with random weights can learn any, and keeps their tokenizer: see `keep_semantic_tokens`.
    """
    made_with = getattr(clips, "semantic_tokens", None)
    if stage not in SPEAKING or made_with is None:
        return
    of_hubert = made_with.startswith(HUBERT)
    for folder, name in _models(config):
        clusters = folder / CLUSTERS
        if clusters.is_file():
            if KMeansTokenizer.load(clusters).fingerprint != made_with:
                raise TrainingError(
                    f"the semantic tokens in {config.data} are of other clusters than {clusters}, which the networks "
                    f"of {name} learned: prepare the data again with --model {name}"
                )
        elif not of_hubert and (
            learned := [other for other in has_learned_tokens(folder) if other != stage or folder != config.model]
        ):
            raise TrainingError(
                f"{name} has no {CLUSTERS}: its {' and '.join(learned)} networks learned semantic tokens of a "
                f"tokenizer that is not there (that of the published models was never released), so those in "
                f"{config.data} mean nothing to it. Prepare the data with --semantic-tokens hubert, train its codec or "
                "fine network, start from a model that has its "
                "own, such as nano, or from random weights in a new folder; from Python, clips=… takes tokens that the "
                "model has generated itself"
            )


def keep_semantic_tokens(config: RunConfig, stage: str, clips: Sequence[Any]) -> None:
    """Copy the tokenizer of the data into the model's folder, for data to come. Raises TrainingError."""
    target = config.model / CLUSTERS
    if stage not in SPEAKING or not hasattr(clips, "semantic_tokens") or target.exists():
        return
    if clips.semantic_tokens.startswith(HUBERT):
        return
    tokenizer = KMeansTokenizer.load(config.data / CLUSTERS)
    if tokenizer.fingerprint != clips.semantic_tokens:
        raise TrainingError(f"{config.data / CLUSTERS} did not make the tokens beside it: {AGAIN}")
    tokenizer.save(target)


def _models(config: RunConfig) -> list[tuple[Path, str]]:
    """Folders of the models that the data must fit, and what they are called."""
    start = [(resolve(config.start, progress=False), config.start)] if config.start else []
    return [*start, (config.model, str(config.model))]


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
        "train": dataclasses.asdict(config.train) | {"warmup_steps": config.train.warmup},
        "transform": None if trainer.transform is None else "own",
        "loss": None if trainer.loss_function is None else getattr(trainer.loss_function, "__qualname__", "own"),
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
            "semantic_tokens": getattr(clips, "semantic_tokens", None),
        },
    }
    return json.loads(json.dumps(values))


def _hash(path: Path) -> str:
    """SHA-256 of a file. Raises TrainingError."""
    try:
        return sha256(path)
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {error.strerror}") from error
