"""The converted checkpoint: a folder that is written once, whole, and read without PyTorch or pickle.

What needs JAX is imported when it is first used.
"""

from typing import TYPE_CHECKING

from bark_jax import lazy
from bark_jax.checkpoint.layout import CONVERSION, DTYPES, FORMAT, VERSION, CheckpointError, HubUnreachableError
from bark_jax.checkpoint.reading import is_checkpoint, read_config, read_json

if TYPE_CHECKING:
    from bark_jax.checkpoint.networks import read_network
    from bark_jax.checkpoint.writing import (
        copy_checkpoint,
        is_vacant,
        write_checkpoint,
        write_model_folder,
        write_network,
    )
else:
    _WRITING = ("copy_checkpoint", "is_vacant", "write_checkpoint", "write_model_folder", "write_network")
    __getattr__, __dir__ = lazy.attributes(
        __name__,
        {"read_network": "bark_jax.checkpoint.networks", **dict.fromkeys(_WRITING, "bark_jax.checkpoint.writing")},
    )

__all__ = [
    "CONVERSION",
    "DTYPES",
    "FORMAT",
    "VERSION",
    "CheckpointError",
    "HubUnreachableError",
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
