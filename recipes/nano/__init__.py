"""Nano: a complete small Bark, trained on speech that espeak-ng synthesises from generated sentences."""
