"""Repairing voices whose arrays do not belong together."""

import numpy as np
import pytest

from bark_jax.config import BarkConfig
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.repair import repair_voice

from voice_arrays import TINY, Arrays, arrays


def of_lengths(tokens: int, frames: int) -> Arrays:
    semantic = np.arange(tokens) % TINY.semantic.vocab
    fine = np.arange(8 * frames).reshape(8, frames) % TINY.codec.codebook_size
    return {"semantic_prompt": semantic, "coarse_prompt": fine[:2], "fine_prompt": fine}


@pytest.mark.parametrize(
    ("tokens", "frames", "kept", "length"),
    [
        (767, 2925, 767, 1153), (767, 100, 67, 101), (100, 100, 67, 101), (10, 3, 2, 3), (100, 150, 100, 150),
        (100, 154, 100, 154), (2, 1000, 2, 3),
    ],
)  # fmt: skip
def test_the_longest_end_that_fits_is_kept(tokens: int, frames: int, kept: int, length: int) -> None:
    values, length = of_lengths(tokens, frames), min(length, frames)
    voice, changes = repair_voice(values, BarkConfig.tiny(), name="mine")
    np.testing.assert_array_equal(voice.semantic, values["semantic_prompt"][-kept:])
    np.testing.assert_array_equal(voice.fine, values["fine_prompt"][:, -length:])
    assert bool(changes) == ((kept, length) != (tokens, frames))


@pytest.mark.parametrize(("tokens", "frames"), [(1, 1), (1, 1000), (1000, 1)])
def test_nothing_that_fits_is_an_error(tokens: int, frames: int) -> None:
    with pytest.raises(VoiceError, match=f"{frames} frames for {tokens} semantic tokens"):
        repair_voice(of_lengths(tokens, frames), TINY, name="mine")


@pytest.mark.parametrize("end", ["last", "first"])
@pytest.mark.parametrize("short", ["coarse_prompt", "fine_prompt"])
def test_codes_of_different_lengths_are_cut(end: str, short: str) -> None:
    values = arrays()
    part = slice(1, None) if end == "last" else slice(-1)
    values[short] = values[short][:, part]
    voice, changes = repair_voice(values, TINY, name="mine")
    assert f"the {end} 29 frames of both are kept" in changes[0]
    np.testing.assert_array_equal(voice.fine, arrays()["fine_prompt"][:, part])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fine_prompt": arrays()["fine_prompt"]}, r"cannot be repaired: it lacks semantic_prompt \("),
        (arrays() | {"semantic_prompt": np.full(20, 0.5)}, "cannot be repaired: semantic has dtype float64"),
        (arrays() | {"coarse_prompt": arrays()["fine_prompt"][2:4]}, "coarse .* is not the beginning of fine"),
        (arrays() | {"semantic_prompt": np.full(20, 999)}, "semantic holds 999"),
    ],
)
def test_what_cannot_be_repaired_is_named(values: Arrays, message: str) -> None:
    with pytest.raises(VoiceError, match=message):
        repair_voice(values, TINY, name="mine")
