"""Conversion of PyTorch's checkpoints of Bark; nothing else in this project knows of their formats.

Importable as `convert` in a checkout and as `bark_jax.convert` once installed.
"""

from .conversion import convert_checkpoint
from .errors import ConversionError

__all__ = ["ConversionError", "convert_checkpoint"]
