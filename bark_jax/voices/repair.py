"""Repairing a voice: the longest end of its arrays that belongs together."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bark_jax.config import BarkConfig
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.metadata import VoiceMetadata
from bark_jax.voices.tokens import find_malformations, rates_agree, receive
from bark_jax.voices.voice import NOTHING_KNOWN, MakeFine, Voice, with_fine


def repair_voice(
    prompts: Mapping[str, Any],
    config: BarkConfig,
    *,
    name: str,
    metadata: VoiceMetadata = NOTHING_KNOWN,
    make_fine: MakeFine | None = None,
) -> tuple[Voice, list[str]]:
    """The voice that the arrays of a file make, and every change that it took.

    Beside the forms that `Voice.from_arrays` takes: where coarse and fine codes have different lengths and one is the
    beginning or the end of the other, both are cut to the shorter; where the numbers of semantic tokens and frames do
    not fit each other, the longest end is kept in which they do, as a voice is carried on from its end. make_fine: for
    missing fine codes. Raises VoiceError for what cannot be repaired.
    """
    received = receive(prompts, config)
    if received.missing == ["fine"] and make_fine is not None:
        received = with_fine(received, config, make_fine, name)
    if received.missing:
        raise VoiceError(f"{name} cannot be repaired: it lacks {received.lack}")
    arrays, changes = received.arrays, list(received.changes)
    if bad := [problem for field, array in arrays.items() for problem in find_malformations(field, array)]:
        raise VoiceError(f"{name} cannot be repaired: {'; '.join(bad)}")
    arrays = _with_one_length(arrays, changes)
    arrays = _with_one_rate(arrays, config, changes)
    voice = Voice(**arrays, name=name, metadata=metadata)
    voice.check(config)
    return voice, changes


def _with_one_length(arrays: dict[str, npt.NDArray[Any]], changes: list[str]) -> dict[str, npt.NDArray[Any]]:
    """Coarse and fine codes of the same frames, if one continues the other."""
    coarse, fine = arrays["coarse"], arrays["fine"]
    frames = min(coarse.shape[1], fine.shape[1])
    for part in (slice(-frames, None), slice(frames)):
        if coarse.shape[1] != fine.shape[1] and np.array_equal(coarse[:, part], fine[: len(coarse), part]):
            end = "last" if part.stop is None else "first"
            changes.append(f"coarse {coarse.shape} and fine {fine.shape}: the {end} {frames} frames of both are kept")
            return {**arrays, "coarse": coarse[:, part], "fine": fine[:, part]}
    return arrays


def _with_one_rate(
    arrays: dict[str, npt.NDArray[Any]], config: BarkConfig, changes: list[str]
) -> dict[str, npt.NDArray[Any]]:
    """The longest end of the tokens and frames in which their numbers agree."""
    tokens, frames = len(arrays["semantic"]), arrays["fine"].shape[1]
    if rates_agree(tokens, frames, config):
        return arrays
    ratio = config.codec.frame_rate_hz / config.semantic.rate_hz
    for kept in range(min(tokens, round(frames / ratio)), 0, -1):
        length = min(frames, round(kept * ratio))
        if length and rates_agree(kept, length, config):
            changes.append(f"the last {kept} of {tokens} semantic tokens and {length} of {frames} frames are kept")
            cut = {field: arrays[field][:, -length:] for field in ("coarse", "fine")}
            return {"semantic": arrays["semantic"][-kept:], **cut}
    return arrays
