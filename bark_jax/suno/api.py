"""Suno's text to audio, as in its `bark.api`. Common arguments are those of `bark_jax.suno.generation`."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from bark_jax.frontend import VoiceSource
from bark_jax.inputs import choose_seed
from bark_jax.settings import Settings
from bark_jax.suno.arguments import temperature
from bark_jax.suno.generation import (
    codec_decode,
    generate_coarse,
    generate_fine,
    generate_text_semantic,
)
from bark_jax.suno.history import History, check_history
from bark_jax.suno.loading import loaded_model
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.tokens import PROMPTS

Waveform: TypeAlias = npt.NDArray[np.float32]
FullGeneration: TypeAlias = dict[str, npt.NDArray[np.integer]]
"""`semantic_prompt` [N], `coarse_prompt` [2, T] and `fine_prompt` [8, T]: a history_prompt."""


def text_to_semantic(
    text: str,
    history_prompt: VoiceSource = None,
    temp: float = 0.7,
    silent: bool = False,
    *,
    seed: int | None = None,
) -> npt.NDArray[np.int64]:
    """Text → semantic tokens, int64 [N], 0 ≤ N ≤ 768. Warns with TextTruncated and EmptyGeneration."""
    return generate_text_semantic(text, history_prompt, temp, silent=silent, seed=seed)


@overload
def semantic_to_waveform(
    semantic_tokens: npt.NDArray[np.integer], history_prompt: VoiceSource = None, temp: float = 0.7,
    silent: bool = False, output_full: Literal[False] = False, *, seed: int | None = None,
) -> Waveform: ...  # fmt: skip


@overload
def semantic_to_waveform(
    semantic_tokens: npt.NDArray[np.integer], history_prompt: VoiceSource = None, temp: float = 0.7,
    silent: bool = False, *, output_full: Literal[True], seed: int | None = None,
) -> tuple[FullGeneration, Waveform]: ...  # fmt: skip


def semantic_to_waveform(
    semantic_tokens: npt.NDArray[np.integer],
    history_prompt: VoiceSource = None,
    temp: float = 0.7,
    silent: bool = False,
    output_full: bool = False,
    *,
    seed: int | None = None,
) -> Waveform | tuple[FullGeneration, Waveform]:
    """Semantic tokens, int [N] → waveform, float32 [samples] at SAMPLE_RATE; after the full generation if asked for.

    temp is that of the coarse stage; the fine stage's is 0.5.
    """
    seed = choose_seed(seed)
    coarse = generate_coarse(semantic_tokens, history_prompt, temp, silent=silent, seed=seed)
    fine = generate_fine(coarse, history_prompt, silent=silent, seed=seed)
    waveform = codec_decode(fine)
    if not output_full:
        return waveform
    return {"semantic_prompt": np.asarray(semantic_tokens), "coarse_prompt": coarse, "fine_prompt": fine}, waveform


@overload
def generate_audio(
    text: str, history_prompt: VoiceSource = None, text_temp: float = 0.7, waveform_temp: float = 0.7,
    silent: bool = False, output_full: Literal[False] = False, *, seed: int | None = None,
) -> Waveform: ...  # fmt: skip


@overload
def generate_audio(
    text: str, history_prompt: VoiceSource = None, text_temp: float = 0.7, waveform_temp: float = 0.7,
    silent: bool = False, *, output_full: Literal[True], seed: int | None = None,
) -> tuple[FullGeneration, Waveform]: ...  # fmt: skip


def generate_audio(
    text: str,
    history_prompt: VoiceSource = None,
    text_temp: float = 0.7,
    waveform_temp: float = 0.7,
    silent: bool = False,
    output_full: bool = False,
    *,
    seed: int | None = None,
) -> Waveform | tuple[FullGeneration, Waveform]:
    """Text → waveform, float32 [samples] at SAMPLE_RATE; after the full generation if asked for.

    Warns with TextTruncated and EmptyGeneration.
    """
    seed = choose_seed(seed)
    Settings(semantic_temperature=temperature(text_temp), coarse_temperature=temperature(waveform_temp))
    history_prompt = check_history(history_prompt, loaded_model())  # all of it before the first stage
    semantic = text_to_semantic(text, history_prompt, text_temp, silent, seed=seed)
    if output_full:
        return semantic_to_waveform(semantic, history_prompt, waveform_temp, silent, output_full=True, seed=seed)
    return semantic_to_waveform(semantic, history_prompt, waveform_temp, silent, seed=seed)


def save_as_prompt(filepath: str | Path, full_generation: Mapping[str, npt.ArrayLike]) -> None:
    """Write a full generation to an `.npz` file, int32, for use as a history_prompt. Raises VoiceError.

    As in Suno's code, the three arrays may come from different generations. Warns of other entries, which are left out.
    """
    if not isinstance(full_generation, Mapping):
        kind = type(full_generation).__name__
        raise VoiceError(f"full_generation must be the dict that comes first with output_full=True, not {kind}")
    History.of(full_generation).save(filepath)
    if others := sorted(map(str, set(full_generation) - set(PROMPTS))):
        warnings.warn(f"{filepath} is written without {', '.join(others)}: not arrays of a voice", stacklevel=2)
