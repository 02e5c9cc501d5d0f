"""Suno's functions, over `Bark`: a script written for Suno's package runs once its import is changed.

Names, arguments, defaults, shapes and dtypes are those of `bark`, `bark.api`, `bark.cli` and `bark.generation`. Names
that mean nothing here, such as `InferenceContext`, raise an ImportError that names the replacement; Suno's modules
`bark.model` and `bark.model_fine` are not provided. Three things are added: the keyword `seed` of all that draws, the
keyword `model` of `preload_models`, and checks of all input.
"""

from bark_jax.suno.api import generate_audio, save_as_prompt, semantic_to_waveform, text_to_semantic
from bark_jax.suno.generation import (
    SAMPLE_RATE,
    codec_decode,
    generate_coarse,
    generate_fine,
    generate_text_semantic,
)
from bark_jax.suno.loading import preload_models

__all__ = [
    "SAMPLE_RATE",
    "codec_decode",
    "generate_audio",
    "generate_coarse",
    "generate_fine",
    "generate_text_semantic",
    "preload_models",
    "save_as_prompt",
    "semantic_to_waveform",
    "text_to_semantic",
]
