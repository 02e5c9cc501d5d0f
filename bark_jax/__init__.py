"""Bark, Suno's text-to-audio model, in JAX.

The names below are imported when they are first used, as `import bark_jax` alone need not wait for JAX.
"""

from typing import TYPE_CHECKING

from bark_jax import lazy

__version__ = "0.1.0"

__all__ = [
    "Bark",
    "BarkConfig",
    "Delivery",
    "Generation",
    "Join",
    "Pauses",
    "Settings",
    "Speech",
    "Stream",
    "Voice",
    "detect",
]

if TYPE_CHECKING:
    from bark_jax.bark import Bark
    from bark_jax.config import BarkConfig
    from bark_jax.generation import Generation
    from bark_jax.hearing.detection import detect
    from bark_jax.settings import Settings
    from bark_jax.speech.delivery import Delivery
    from bark_jax.speech.joining import Join
    from bark_jax.speech.script import Pauses
    from bark_jax.speech.speech import Speech
    from bark_jax.speech.streaming import Stream
    from bark_jax.voices.voice import Voice
else:
    __getattr__, __dir__ = lazy.attributes(
        __name__,
        {
            "Bark": "bark_jax.bark",
            "BarkConfig": "bark_jax.config",
            "Delivery": "bark_jax.speech.delivery",
            "Generation": "bark_jax.generation",
            "Join": "bark_jax.speech.joining",
            "Pauses": "bark_jax.speech.script",
            "Settings": "bark_jax.settings",
            "Speech": "bark_jax.speech.speech",
            "Stream": "bark_jax.speech.streaming",
            "Voice": "bark_jax.voices.voice",
            "detect": "bark_jax.hearing.detection",
        },
    )
