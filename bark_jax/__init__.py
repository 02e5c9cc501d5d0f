"""Bark, Suno's text-to-audio model, in JAX."""

from bark_jax.config import BarkConfig
from bark_jax.generation import Generation
from bark_jax.pipeline import Bark
from bark_jax.settings import Settings
from bark_jax.voice import Voice

__all__ = ["Bark", "BarkConfig", "Generation", "Settings", "Voice"]
