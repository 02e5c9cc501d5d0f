"""The arrays of a voice for a tiny model, and what tests of voices do with them."""

from pathlib import Path
from typing import Any

import numpy as np

from bark_jax.config import BarkConfig
from bark_jax.voices.voice import Voice

TINY = BarkConfig.tiny()
KEYS = ("semantic_prompt", "coarse_prompt", "fine_prompt")

Arrays = dict[str, np.ndarray]


def arrays(tokens: int = 20, dtype: Any = np.int64) -> Arrays:
    rng = np.random.default_rng(0)
    fine = rng.integers(0, TINY.codec.codebook_size, (8, tokens * 3 // 2)).astype(dtype)
    semantic = rng.integers(0, TINY.semantic.vocab, tokens).astype(dtype)
    return {"semantic_prompt": semantic, "coarse_prompt": fine[:2].copy(), "fine_prompt": fine}


def save_triple(prefix: Path, values: Arrays) -> Path:
    for key, array in values.items():
        np.save(f"{prefix}_{key}.npy", array)
    return prefix


def assert_same(voice: Voice, expected: Arrays) -> None:
    for array, key in zip((voice.semantic, voice.coarse, voice.fine), KEYS, strict=True):
        assert array.dtype == np.int32
        np.testing.assert_array_equal(array, expected[key])


def with_value(field: str, value: int) -> Arrays:
    values = arrays()
    values[f"{field}_prompt"].flat[-1] = value
    return values | {"coarse_prompt": values["fine_prompt"][:2] if field == "fine" else values["coarse_prompt"]}
