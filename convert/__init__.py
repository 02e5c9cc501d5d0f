"""Conversion of PyTorch's checkpoints of Bark, and back; nothing else in this project knows of their formats.

Importable as `convert` in a checkout and as `bark_jax.convert` once installed.
"""

from typing import TYPE_CHECKING

from bark_jax import lazy

from .errors import ConversionError

if TYPE_CHECKING:
    from .conversion import convert_checkpoint
    from .export import export_checkpoint
else:
    __getattr__, __dir__ = lazy.attributes(
        __name__,
        {"convert_checkpoint": f"{__name__}.conversion", "export_checkpoint": f"{__name__}.export"},
    )

__all__ = ["ConversionError", "convert_checkpoint", "export_checkpoint"]
