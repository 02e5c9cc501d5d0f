"""Voices ("history prompts"): the tokens of a recording that a generation continues in the same voice.

Axes: N semantic tokens, K codebooks, T frames.
"""

import dataclasses
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from bark_jax.config import BarkConfig
from bark_jax.equality import EqualByContent
from bark_jax.files import replacing
from bark_jax.quoting import quote, shorten
from bark_jax.voices.errors import VoiceAdjusted, VoiceError
from bark_jax.voices.metadata import METADATA_FILE, VoiceMetadata
from bark_jax.voices.reading import find_file, read_voice_file
from bark_jax.voices.tokens import (
    FIELDS,
    PROMPTS,
    Received,
    as_array,
    find_disagreements,
    find_malformations,
    find_misfits,
    receive,
)

MakeFine: TypeAlias = Callable[[npt.NDArray[np.int32]], npt.NDArray[np.int32]]
"""Coarse codes [2, T] → fine codes [8, T]."""

_SHOWN = 5  # names of unknown arrays in a message

NOTHING_KNOWN = VoiceMetadata()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Voice(EqualByContent):
    """The three token sequences of one recording. Arrays of any integer dtype are accepted and become int32.

    Raises VoiceError unless the arrays are non-empty integers of these shapes with `fine[:len(coarse)] == coarse`;
    `check` compares them with a model. Voices are equal if their tokens and their metadata are; names do not count.
    """

    semantic: npt.NDArray[np.int32]  # [N]
    coarse: npt.NDArray[np.int32]  # [2, T]
    fine: npt.NDArray[np.int32]  # [8, T]
    name: str | None = dataclasses.field(default=None, compare=False)  # for messages
    metadata: VoiceMetadata = NOTHING_KNOWN

    def __post_init__(self) -> None:
        arrays = {field: as_array(getattr(self, field)) for field in FIELDS}
        self._refuse([problem for field, array in arrays.items() for problem in find_malformations(field, array)])
        for field, array in arrays.items():
            object.__setattr__(self, field, array.astype(np.int32))
        self._refuse(list(find_disagreements(arrays)))

    def __repr__(self) -> str:
        known = "".join(f", {name} {value!r:.60}" for name, value in self.metadata.known().items())
        name = "" if self.name is None else f"{self.name!r}, "
        return f"Voice({name}{len(self.semantic)} semantic tokens, {self.fine.shape[1]} frames{known})"

    def check(self, config: BarkConfig) -> None:
        """Raise VoiceError with everything that does not fit the model: codebooks, token ranges, rates."""
        self._refuse(list(find_misfits({field: getattr(self, field) for field in FIELDS}, config)))

    def _refuse(self, problems: list[str]) -> None:
        if problems:
            raise VoiceError(f"{self.name or 'the voice'} cannot be used: " + "; ".join(problems))

    @property
    def arrays(self) -> dict[str, npt.NDArray[np.int32]]:
        """`semantic_prompt` [N], `coarse_prompt` [2, T] and `fine_prompt` [8, T]: what `from_arrays` takes."""
        return {f"{field}_prompt": getattr(self, field) for field in FIELDS}

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, Any],
        config: BarkConfig | None = None,
        *,
        name: str | None = None,
        metadata: VoiceMetadata = NOTHING_KNOWN,
        make_fine: MakeFine | None = None,
    ) -> Self:
        """From `semantic_prompt`, `coarse_prompt` and `fine_prompt`, checked against the model if a config is given.

        arrays: a mapping with arrays, tensors or lists under these names, or with such a mapping under
        `history_prompt`, as transformers' processor makes it. Leading axes of 1 are removed, whole numbers of a float
        dtype become integers, and with a config the model's pads are cut from the end. Missing coarse codes are the
        first codebooks of the fine ones; make_fine: [2, T] → [8, T], called for missing fine codes. Warns with
        VoiceAdjusted of what was changed; raises VoiceError.
        """
        title = name or "the voice"
        prompts, others = _unwrap(arrays, title)
        received = receive(prompts, config)
        if received.missing == ["fine"] and make_fine is not None and config is not None:
            received = with_fine(received, config, make_fine, title)
        if received.missing:
            raise VoiceError(f"{title} lacks {received.lack}{others}")
        voice = cls(**received.arrays, name=name, metadata=metadata)
        if config is not None:
            voice.check(config)
        if received.changes:
            warnings.warn(f"{title}: {'; '.join(received.changes)}", VoiceAdjusted, stacklevel=2)
        return voice

    def fitted(self, config: BarkConfig) -> Self:
        """The voice, checked against a model: itself, or without the pads at its end. Raises and warns as above."""
        if receive(self.arrays, config).changes:
            return self.from_arrays(self.arrays, config, name=self.name, metadata=self.metadata)
        self.check(config)
        return self

    @classmethod
    def load(cls, path: Path | str, config: BarkConfig | None = None, **options: Any) -> Self:
        """From an `.npz` file, or the three `.npy` files `{path}_semantic_prompt.npy`, …, that Hugging Face stores.

        The path may lack `.npz` (see `reading.find_file`). options: of `from_arrays`. No pickle is executed, and
        declared sizes are not trusted. Raises VoiceError naming the file; warns with VoiceAdjusted.
        """
        path = find_file(path) or Path(path)
        arrays, metadata = read_voice_file(path)
        return cls.from_arrays(arrays, config, name=str(path), metadata=metadata, **options)

    def save(self, path: Path | str) -> None:
        """Write an `.npz` in Suno's layout, int32, whole or not at all; known metadata beside the arrays, as JSON.

        Raises VoiceError.
        """
        path = Path(path).expanduser()
        if path.suffix != ".npz":
            raise VoiceError(f"cannot write the voice {path}: its name must end in .npz")
        try:
            with replacing(path) as temporary:
                np.savez(temporary, allow_pickle=False, **self.arrays)
                if self.metadata.known():
                    with zipfile.ZipFile(temporary, "a") as archive:
                        archive.writestr(METADATA_FILE, self.metadata.to_json())
        except OSError as error:
            raise VoiceError(f"cannot write the voice {path}: {error}") from error


def inspect_file(path: Path | str, config: BarkConfig | None = None) -> Received:
    """What `Voice.load` would use of a file, with what it would change. Raises VoiceError for one it cannot read."""
    return receive(read_voice_file(find_file(path) or Path(path))[0], config)


def find_problems(path: Path | str, config: BarkConfig) -> list[str]:
    """Everything that is wrong with a voice's file; nothing if `Voice.load` takes it for this model."""
    try:
        return inspect_file(path, config).problems(config)
    except VoiceError as error:
        return [str(error)]


def _unwrap(arrays: Mapping[str, Any], title: str) -> tuple[dict[str, Any], str]:
    """The prompts that a mapping holds, itself or under `history_prompt`, and what else it holds, for messages."""
    try:
        prompts = arrays.get("history_prompt", arrays)
        if not isinstance(prompts, Mapping):
            raise ValueError(f"its history_prompt holds no arrays but a {type(prompts).__name__}")
        others = [quote(name) for name in prompts if name not in PROMPTS]
        found = {prompt: prompts[prompt] for prompt in PROMPTS if prompt in prompts}
        return found, f"; it has {', '.join(others[:_SHOWN])}" if others else ""
    except Exception as error:  # NumPy's NpzFile reads its arrays only now
        raise VoiceError(f"{title} cannot be read: {shorten(error)}") from error


def with_fine(
    received: Received,
    config: BarkConfig,
    make_fine: MakeFine,
    title: str,
) -> Received:
    """With the fine codes that the model makes of the coarse ones, if these can be put into it."""
    if problems := received.misfits(config):
        raise VoiceError(f"{title} cannot be used: {'; '.join(problems)}")
    fine = make_fine(received.arrays["coarse"].astype(np.int32))
    change = "fine: missing, made from coarse by the model's fine stage"
    return Received({**received.arrays, "fine": fine}, [*received.changes, change])
