"""The seed alone decides: JAX's settings for random numbers change no token, and no item of a batch."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from bark_jax import Bark, Generation
from bark_jax.stages.noise import fold_keys, gumbel, seed_key, seed_keys, split_key
from bark_jax.stages.sampling import draw

from two_processes import CONFIG

BATCH = {"text": ["One", "Two, three"], "seed": [1, 2**32 - 1], "max_seconds": 1.5, "min_eos_p": 0.01}


def speak() -> dict[str, str]:
    """Hashes of the tokens of a batch and of its second item alone, and of the weights."""
    bark = Bark.from_pretrained("random:tiny")
    small = Bark.from_config(CONFIG, seed_key(0))
    alone = {name: value[1] if isinstance(value, list) else value for name, value in BATCH.items()}
    clips = [*small.generate(**BATCH), small.generate(**alone)]
    return {
        **{f"clip {i}": tokens_of(clip) for i, clip in enumerate(clips)},
        "weights": hashlib.sha256(np.asarray(bark.coarse.head.weight[...]).tobytes()).hexdigest(),
    }


def tokens_of(clip: Generation) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in clip.tokens)).hexdigest()


@pytest.fixture(scope="module")
def expected() -> dict[str, str]:
    made = speak()
    assert made["clip 1"] == made["clip 2"]
    return made


@pytest.mark.parametrize(
    "environment",
    [
        {"JAX_DEFAULT_PRNG_IMPL": "rbg", "JAX_THREEFRY_PARTITIONABLE": "1", "JAX_RANDOM_SEED_OFFSET": "7"},
        {"JAX_DEFAULT_PRNG_IMPL": "unsafe_rbg", "JAX_THREEFRY_PARTITIONABLE": "0", "JAX_ENABLE_X64": "1"},
    ],
    ids=["rbg", "old layout, double precision"],
)
def test_no_setting_of_jax_changes_a_token(environment: dict[str, str], expected: dict[str, str]) -> None:
    flags = "--xla_backend_optimization_level=0"
    switches = {"XLA_FLAGS": flags, "PYTHONPATH": str(Path(__file__).parent), "JAX_ENABLE_COMPILATION_CACHE": "0"}
    done = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, check=False,
        env=os.environ | environment | switches,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected


def test_the_bits_are_those_of_jax_with_its_defaults() -> None:
    """Which is what older versions of this package drew."""
    key = jax.random.key(7)
    np.testing.assert_array_equal(gumbel(seed_key(7), 1001), jax.random.gumbel(key, (1001,), np.float32, mode="low"))
    data = [jax.random.key_data(keys) for keys in (split_key(seed_key(7), 5), jax.random.split(key, 5))]
    np.testing.assert_array_equal(*data)
    folded = [jax.random.key_data(fold_keys(keys, 3)) for keys in (seed_keys([7]), key[None])]
    np.testing.assert_array_equal(*folded)


def test_other_keys_are_refused() -> None:
    with pytest.raises(TypeError, match="must be of threefry2x32, not rbg"):
        draw(jax.random.split(jax.random.key(0, impl="rbg"), 2), np.zeros((2, 3), np.float32))


if __name__ == "__main__":
    print(json.dumps(speak()))
