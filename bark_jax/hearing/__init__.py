"""What recordings hold: semantic tokens, voices, the times of words, and whether Bark made them."""
