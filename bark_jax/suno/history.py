"""What Suno's functions take for a history_prompt: any that holds the arrays of the stage at work.

Suno's rules are wider than those of a `Voice`: an array that the stage does not read may be missing or unfit, coarse
codes need not be the beginning of fine ones, and floats are taken (whole ones: a fraction means no code).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from bark_jax.bark import Bark
from bark_jax.config import BarkConfig
from bark_jax.frontend import VoiceSource
from bark_jax.generation import Generation
from bark_jax.inputs import TokenError, check_tokens
from bark_jax.quoting import shorten
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.library import locate
from bark_jax.voices.names import NO_VOICE
from bark_jax.voices.reading import read_voice_file
from bark_jax.voices.tokens import rates_agree
from bark_jax.voices.voice import Voice

Shape: TypeAlias = tuple[int | None, ...]

STAGES = {"semantic": ("semantic",), "coarse": ("semantic", "coarse"), "fine": ("fine",)}
"""Which arrays each stage reads."""


_EMPTY = {"semantic": np.zeros(0, np.int32), "coarse": np.zeros((2, 0), np.int32), "fine": np.zeros((8, 0), np.int32)}


class History(Voice):
    """The arrays of a voice that one stage reads, checked; the others are empty."""

    def __post_init__(self) -> None:
        """Nothing: those who make one have checked what is there."""

    def check(self, config: BarkConfig) -> None:
        """Nothing: `read_history` has checked what is there."""

    def fitted(self, config: BarkConfig) -> Self:
        """The history: `read_history` has made it fit the model."""
        return self

    @classmethod
    def of(cls, prompts: Mapping[str, npt.ArrayLike]) -> Self:
        """All three arrays, whether they belong together or not. Raises VoiceError for what cannot be tokens."""
        axes = {"semantic": 1, "coarse": 2, "fine": 2}
        return cls(**_read_arrays(prompts, "the voice", {name: (None,) * n for name, n in axes.items()}, {}))


def read_history(source: VoiceSource, stage: str, bark: Bark) -> History | str | None:
    """What a stage (see `STAGES`) reads of a history_prompt; no voice and the default one stay as they are.

    Raises VoiceError.
    """
    if source is None or (isinstance(source, str) and source == NO_VOICE):
        return source
    prompts = load_prompts(source, bark.voice_folder)
    name = str(source) if isinstance(source, str | Path) else "the history_prompt"
    codes, config = bark.config.codec.codebook_size, bark.config
    shapes: dict[str, Shape] = {
        "semantic": (None,),
        "coarse": (config.coarse.codebooks, None),
        "fine": (config.codec.codebooks, None),
    }
    vocabularies = {"semantic": config.semantic.vocab, "coarse": codes, "fine": codes}
    arrays = _read_arrays(prompts, name, {field: shapes[field] for field in STAGES[stage]}, vocabularies)
    if stage == "coarse" and not rates_agree(len(arrays["semantic"]), arrays["coarse"].shape[1], config):
        frames, tokens = arrays["coarse"].shape[1], len(arrays["semantic"])
        raise VoiceError(f"{name}: {frames} frames for {tokens} semantic tokens, a ratio of {frames / tokens:.2f}")
    return History(**_EMPTY | arrays, name=name)


def check_history(source: VoiceSource, bark: Bark) -> VoiceSource:
    """The history_prompt, read once and found fit for all stages. Raises VoiceError."""
    if source is None or source == NO_VOICE:
        return source
    for stage in STAGES:
        read_history(source, stage, bark)
    return load_prompts(source, bark.voice_folder)


def load_prompts(source: VoiceSource, folder: Path | None = None) -> Mapping[str, npt.ArrayLike]:
    """The arrays of a history_prompt, unchecked, by their names: some of `semantic_prompt`, `coarse_prompt`, ….

    folder: of the model's voices. Raises VoiceError.
    """
    if isinstance(source, Generation):
        source = source.as_voice()
    if isinstance(source, Voice):
        return source.arrays
    if isinstance(source, str | Path):
        return read_voice_file(locate(str(source), folder).path)[0]
    if isinstance(source, Mapping):
        inner = source.get("history_prompt", source)  # transformers' processor puts them there
        if isinstance(inner, Mapping):
            return inner
    raise VoiceError(f"a history_prompt is a name, a file or a dict of arrays, not {type(source).__name__}")


def whole(tokens: npt.ArrayLike) -> npt.NDArray[Any]:
    """The tokens as an array: of integers, if they are whole numbers in floats. Others stay, for checks to refuse."""
    array = np.asarray(tokens)
    if array.dtype.kind != "f":
        return array
    wide = array.astype(np.float64)
    return wide.astype(np.int64) if ((np.trunc(wide) == wide) & (abs(wide) < 2**31)).all() else array


def _read_arrays(
    prompts: Mapping[str, npt.ArrayLike], name: str, shapes: Mapping[str, Shape], vocabularies: Mapping[str, int]
) -> dict[str, Any]:
    """The arrays, int32, with the given shapes (None: any length), by field, not empty. name: for messages."""
    missing = [f"{field}_prompt" for field in shapes if f"{field}_prompt" not in prompts]
    if missing:
        raise VoiceError(f"{name} lacks {', '.join(missing)}")
    arrays = {}
    for field, shape in shapes.items():
        what, vocab = f"{field}_prompt", vocabularies.get(field, 2**31)
        try:
            arrays[field] = check_tokens(whole(prompts[what]), what, shape, vocab)
        except TokenError as error:
            raise VoiceError(f"{name}: {error}") from error
        except Exception as error:  # NumPy's NpzFile reads its arrays only now; others have an `__array__` of their own
            raise VoiceError(f"{name}: cannot read {what}: {shorten(error)}") from error
        if not arrays[field].size:
            raise VoiceError(f"{name}: {what} is empty")
    return arrays
