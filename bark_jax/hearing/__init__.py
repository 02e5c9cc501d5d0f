"""What recordings hold: semantic tokens, voices, the times of words."""
