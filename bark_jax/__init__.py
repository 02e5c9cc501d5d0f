"""Bark, Suno's text-to-audio model, in JAX."""

from bark_jax.bark import Bark
from bark_jax.config import BarkConfig
from bark_jax.generation import Generation
from bark_jax.settings import Settings
from bark_jax.speech.delivery import Delivery
from bark_jax.speech.joining import Join
from bark_jax.speech.script import Pauses
from bark_jax.speech.speech import Speech
from bark_jax.speech.streaming import Stream
from bark_jax.voices.voice import Voice

__all__ = ["Bark", "BarkConfig", "Delivery", "Generation", "Join", "Pauses", "Settings", "Speech", "Stream", "Voice"]
