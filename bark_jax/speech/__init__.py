"""Texts of any length: script (text → pieces), speaking (pieces → clips), joining (clips → one waveform)."""
