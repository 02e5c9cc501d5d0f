"""The error and the warning of voices, apart from what raises them."""

from bark_jax.errors import InputError


class VoiceError(InputError):
    """A voice that cannot be found, read or written, or that does not fit the model."""


class VoiceAdjusted(UserWarning):
    """A voice is not used exactly as it was given: the message names every change."""
