"""The converted checkpoint: a folder that is written once, whole, and read without PyTorch or pickle."""

from bark_jax.checkpoint.layout import DTYPES, FORMAT, VERSION, CheckpointError
from bark_jax.checkpoint.reading import is_checkpoint, read_config, read_json, read_network
from bark_jax.checkpoint.writing import (
    copy_checkpoint,
    is_vacant,
    write_checkpoint,
    write_model_folder,
    write_network,
)

__all__ = [
    "DTYPES",
    "FORMAT",
    "VERSION",
    "CheckpointError",
    "copy_checkpoint",
    "is_checkpoint",
    "is_vacant",
    "read_config",
    "read_json",
    "read_network",
    "write_checkpoint",
    "write_model_folder",
    "write_network",
]
