"""What a training run is: where its model, data and results lie, what is trained how, and what is written when."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from bark_jax.config import ConfigError, build
from bark_jax.errors import TrainingError
from bark_jax.training.config import LoraConfig, TrainConfig, require


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """After how many steps each thing happens; all happen after the last step, and 0 is never. Raises TrainingError."""

    log_every: int = 50
    validate_every: int = 500
    sample_every: int = 1000  # audio of what is learned
    save_every: int = 500  # a checkpoint, from which the run can be resumed
    export_every: int = 0  # the network into the model's folder, where it always is after the last step
    keep: int = 2  # checkpoints, the newest
    held_out: float = 0.02  # share of the clips that are for validation only
    samples: int = 4  # held-out clips to generate audio for

    def __post_init__(self) -> None:
        for name in ("log_every", "save_every", "keep"):
            require(self, name, getattr(self, name) >= 1, "≥ 1")
        require(self, "held_out", 0 <= self.held_out < 1, "in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One training run, for any stage. Paths are relative to the current folder. Raises TrainingError."""

    model: Path  # folder with config.json and tokenizer.json; the network trained is written into it
    data: Path  # folder made by `bark-jax data prepare`
    run: Path  # folder of checkpoints, metrics and samples; a run that is there is resumed
    start: str | None = None  # checkpoint to fine-tune, what `Bark.from_pretrained` takes; without: random weights
    batch: int = 16  # examples in a step
    seconds: float = 1.0  # codec: length of an example
    history: float = 0.5  # semantic, coarse: probability of a voice, from another clip of the same speaker
    train: TrainConfig = field(default_factory=TrainConfig)
    lora: LoraConfig | None = None  # adapters instead of everything
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        require(self, "batch", self.batch >= 1, "≥ 1")
        require(self, "seconds", self.seconds > 0, "> 0")
        require(self, "history", 0 <= self.history <= 1, "in 0 … 1")
        if self.batch % self.train.microbatches:
            raise TrainingError(f"batch {self.batch} cannot be divided into {self.train.microbatches} microbatches")
        if self.lora and not self.start:
            raise TrainingError("adapters (lora) need a checkpoint to adapt: name it as start")
        if self.start and Path(self.start).resolve() == self.model.resolve():
            raise TrainingError(f"start and model are both {self.start}: what is fine-tuned needs a folder of its own")

    @classmethod
    def load(cls, path: Path | str, overrides: Sequence[str] = ()) -> Self:
        """From a TOML file, and overrides such as "train.steps=100", whose values are TOML or plain text.

        Raises TrainingError naming the file or override, and unknown, missing and unusable values.
        """
        try:
            values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise TrainingError(f"cannot read {path}: {error.strerror}") from error
        except ValueError as error:  # not TOML, or not UTF-8
            raise TrainingError(f"{path} is not TOML: {error}") from error
        for override in overrides:
            _override(values, override)
        try:
            return build(cls, values, "run")
        except (ConfigError, TrainingError) as error:
            raise TrainingError(f"{path}: {error}") from error


def _override(values: dict[str, Any], override: str) -> None:
    """Put one "a.b=value" into nested tables."""
    name, equals, text = override.partition("=")
    if not equals or not re.fullmatch(r"\w+(\.\w+)*", name):
        raise TrainingError(f"{override!r} is no setting: write name=value, such as train.steps=100")
    *tables, last = name.split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise TrainingError(f"{override!r} cannot be set: {table} is not a table")
    values[last] = _value(text)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a path, most likely
