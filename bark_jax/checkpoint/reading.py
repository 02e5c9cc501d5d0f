"""Reading what describes a converted checkpoint (see `bark_jax.checkpoint.layout`), without JAX."""

import json
from pathlib import Path
from typing import Any

from bark_jax.checkpoint.layout import FORMAT, VERSION, CheckpointError
from bark_jax.config import BarkConfig, ConfigError


def is_checkpoint(folder: Path) -> bool:
    """Whether the folder is a converted checkpoint, of any version."""
    try:
        return read_json(folder / "config.json").get("format") == FORMAT
    except CheckpointError:
        return False


def read_config(folder: Path) -> BarkConfig:
    """The configuration of a converted checkpoint. Raises CheckpointError."""
    path = folder / "config.json"
    try:
        values = read_json(path)
    except CheckpointError as error:
        raise CheckpointError(f"{folder} is not a converted checkpoint: {error}") from error
    if values.pop("format", None) != FORMAT:
        raise CheckpointError(f"{folder} is not a converted checkpoint: convert it with `bark-jax convert`")
    if (version := values.pop("version", None)) != VERSION:
        raise CheckpointError(f"{path} has format version {version}, this release reads {VERSION}: convert it again")
    try:
        return BarkConfig.from_dict(values)
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises CheckpointError naming the file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8
        raise CheckpointError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds a {type(values).__name__}, not an object")
    return values
