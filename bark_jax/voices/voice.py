"""Voices ("history prompts"): the tokens of a recording that a generation continues in the same voice.

Axes: N semantic tokens, K codebooks, T frames.
"""

import dataclasses
import json
import re
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from bark_jax.arrays import open_plain, parse_npy, read_bounded, read_member
from bark_jax.config import BarkConfig
from bark_jax.equality import EqualByContent
from bark_jax.errors import InputError
from bark_jax.files import replacing
from bark_jax.quoting import shorten

_FIELDS = {"semantic": 1, "coarse": 2, "fine": 2}  # → number of axes; each is stored as {field}_prompt
PROMPTS = tuple(f"{field}_prompt" for field in _FIELDS)
_MAX_BYTES = 2**23  # of one stored array
_MAX_FILE = 2**24  # bytes of one file
_MAX_TOKENS = 2_000_000  # of one array, nearly an hour of fine codes: int32, as it is saved, it can be read again
_METADATA = "metadata.json"  # in the .npz, where readers that ask for the three arrays do not look
_MAX_METADATA_BYTES = 2**16
MAX_CHARACTERS = 2000  # of each string in the metadata: all of them take less than the bytes above

Arrays: TypeAlias = Mapping[str, npt.NDArray[np.generic]]


class VoiceError(InputError):
    """A voice that cannot be found, read or written, or that does not fit the model."""


@dataclass(frozen=True, kw_only=True)
class VoiceMetadata:
    """What is known of a voice beside its tokens. Strings become one line of printable text.

    Raises VoiceError for values of other types, strings above `MAX_CHARACTERS`, and what is no tag of a language.
    """

    language: str | None = None  # a tag: "de", "pt-BR"
    description: str | None = None
    model: str | None = None  # that made it
    seed: int | None = None  # it was made with
    text: str | None = None  # it speaks

    def __post_init__(self) -> None:
        for field in ("language", "description", "model", "text"):
            value = getattr(self, field)
            if value is not None:
                object.__setattr__(self, field, _one_line(field, value) or None)
        if self.language is not None and not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", self.language):
            raise VoiceError(f"the language of a voice is a tag such as de or pt-BR, not {self.language!r:.50}")
        if self.seed is not None and (type(self.seed) is not int or not 0 <= self.seed < 2**32):
            raise VoiceError(f"the seed of a voice is an integer in 0 … 2³² − 1, not {self.seed!r:.50}")

    def known(self) -> dict[str, Any]:
        """The fields that are known, as JSON would hold them."""
        return {field: value for field, value in dataclasses.asdict(self).items() if value is not None}


def _one_line(field: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_CHARACTERS:
        what = f"{len(value)} characters" if isinstance(value, str) else repr(value)[:50]
        raise VoiceError(f"the {field} of a voice is a text of at most {MAX_CHARACTERS} characters, not {what}")
    # Files of others are shown on terminals: no escape sequences, no halves of surrogate pairs.
    return " ".join("".join(c if unicodedata.category(c) not in ("Cc", "Cs") else " " for c in value).split())


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
    metadata: VoiceMetadata = VoiceMetadata()

    def __post_init__(self) -> None:
        arrays = {field: _as_array(getattr(self, field)) for field in _FIELDS}
        self._refuse([problem for field, array in arrays.items() for problem in _malformations(field, array)])
        for field, array in arrays.items():
            object.__setattr__(self, field, array.astype(np.int32))
        self._refuse(list(_disagreements(arrays)))

    def __repr__(self) -> str:
        known = "".join(f", {name} {value!r:.60}" for name, value in self.metadata.known().items())
        name = "" if self.name is None else f"{self.name!r}, "
        return f"Voice({name}{len(self.semantic)} semantic tokens, {self.fine.shape[1]} frames{known})"

    def check(self, config: BarkConfig) -> None:
        """Raise VoiceError with everything that does not fit the model: codebooks, token ranges, rates."""
        self._refuse(list(_misfits({field: getattr(self, field) for field in _FIELDS}, config)))

    def _refuse(self, problems: list[str]) -> None:
        if problems:
            raise VoiceError(f"{self.name or 'the voice'} cannot be used: " + "; ".join(problems))

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, npt.ArrayLike],
        config: BarkConfig | None = None,
        *,
        name: str | None = None,
        metadata: VoiceMetadata = VoiceMetadata(),
    ) -> Self:
        """From `semantic_prompt`, `coarse_prompt` and `fine_prompt`, checked against the model if a config is given."""
        missing = [prompt for prompt in PROMPTS if prompt not in arrays]
        if missing:
            raise VoiceError(f"{name or 'the voice'} lacks {', '.join(missing)}")
        try:
            tokens = {field: _as_array(arrays[f"{field}_prompt"]) for field in _FIELDS}
        except Exception as error:  # NumPy's NpzFile reads its arrays only now
            raise VoiceError(f"{name or 'the voice'} cannot be read: {shorten(error)}") from error
        voice = cls(**tokens, name=name, metadata=metadata)
        if config is not None:
            voice.check(config)
        return voice

    @classmethod
    def load(cls, path: Path | str, config: BarkConfig | None = None) -> Self:
        """From an `.npz` file, or the three `.npy` files `{path}_semantic_prompt.npy`, …, that Hugging Face stores.

        No pickle is executed, and declared sizes are not trusted. Raises VoiceError naming the file.
        """
        arrays, metadata = _read(Path(path))
        return cls.from_arrays(arrays, config, name=str(path), metadata=metadata)

    def save(self, path: Path | str) -> None:
        """Write an `.npz` in Suno's layout, int32, whole or not at all; known metadata beside the arrays, as JSON.

        Raises VoiceError.
        """
        path = Path(path)
        if path.suffix != ".npz":
            raise VoiceError(f"cannot write the voice {path}: its name must end in .npz")
        try:
            with replacing(path) as temporary:
                np.savez(temporary, semantic_prompt=self.semantic, coarse_prompt=self.coarse, fine_prompt=self.fine)
                if known := self.metadata.known():
                    with zipfile.ZipFile(temporary, "a") as archive:
                        archive.writestr(_METADATA, json.dumps(known, ensure_ascii=False, indent=2))
        except OSError as error:
            raise VoiceError(f"cannot write the voice {path}: {error}") from error


def _as_array(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """The values as an array, of dtype object if they make none, such as lists of unequal lengths."""
    try:
        return np.asarray(values)
    except Exception:  # whatever the `__array__` of a foreign class raises
        return np.empty(0, object)


def _malformations(field: str, array: npt.NDArray[Any]) -> Iterator[str]:
    if array.dtype.kind not in "iu":
        yield f"{field} has dtype {array.dtype}, not integers"
    elif array.ndim != _FIELDS[field] or not array.size:
        yield f"{field} has shape {array.shape}, not {'[N]' if _FIELDS[field] == 1 else '[codebooks, T]'} with tokens"
    elif array.size > _MAX_TOKENS:  # before anything looks at them: a broadcast array may claim any number
        yield f"{field} has shape {array.shape}, more than {_MAX_TOKENS} tokens"
    elif array.min() < 0 or array.max() >= 2**31:
        yield f"{field} holds {array.min()} … {array.max()}, not token ids"


def _disagreements(arrays: Arrays) -> Iterator[str]:
    coarse, fine = arrays["coarse"], arrays["fine"]
    if not np.array_equal(fine[: len(coarse)], coarse):
        yield f"coarse {coarse.shape} is not the beginning of fine {fine.shape}"


def _misfits(arrays: Arrays, config: BarkConfig) -> Iterator[str]:
    """What does not fit the model about well-formed arrays, by field: about those that are there."""
    codebooks = {"coarse": config.coarse.codebooks, "fine": config.codec.codebooks}
    for field, tokens in arrays.items():
        if field in codebooks and len(tokens) != codebooks[field]:
            yield f"{field} has {len(tokens)} codebooks, not {codebooks[field]}"
        size = config.codec.codebook_size if field in codebooks else config.semantic.vocab
        if tokens.max() >= size:
            end = "codebooks end" if field in codebooks else "vocabulary ends"
            yield f"{field} holds {tokens.max()}, the {end} at {size - 1}"
    if {"semantic", "fine"} <= arrays.keys():
        yield from _wrong_ratio(len(arrays["semantic"]), arrays["fine"].shape[1], config)


def _wrong_ratio(tokens: int, frames: int, config: BarkConfig) -> Iterator[str]:
    if not rates_agree(tokens, frames, config):
        ratio = round(config.codec.frame_rate_hz / config.semantic.rate_hz, 1)
        yield f"{frames} frames for {tokens} semantic tokens: the ratio is {frames / tokens:.2f}, not {ratio}"


def rates_agree(tokens: int, frames: int, config: BarkConfig) -> bool:
    """Whether so many frames may belong to so many semantic tokens, at least one: Suno's rule, to the rounding."""
    return round(frames / tokens, 1) == round(config.codec.frame_rate_hz / config.semantic.rate_hz, 1)


def find_problems(path: Path | str, config: BarkConfig) -> list[str]:
    """Everything that is wrong with a voice's file; nothing if `Voice.load` takes it for this model."""
    try:
        arrays, _ = _read(Path(path))
    except VoiceError as error:
        return [str(error)]
    problems = [f"{prompt} is missing" for prompt in PROMPTS if prompt not in arrays]
    sound = {}
    for field in _FIELDS:
        if (prompt := f"{field}_prompt") in arrays:
            malformations = list(_malformations(field, arrays[prompt]))
            problems += malformations
            if not malformations:
                sound[field] = arrays[prompt]
    if {"coarse", "fine"} <= sound.keys():
        problems += _disagreements(sound)
    return [*problems, *_misfits(sound, config)]


def read_metadata(path: Path | str) -> VoiceMetadata:
    """What an `.npz` file says of its voice, without reading its arrays. Raises VoiceError naming the file."""
    try:
        with open_plain(Path(path), _MAX_FILE) as file, zipfile.ZipFile(file) as archive:
            return _parse_metadata(archive)
    except Exception as error:  # see _read
        raise VoiceError(f"cannot read the voice {path}: {shorten(error)}") from error


def read_prompts(path: Path | str) -> Arrays:
    """The arrays that a voice's file holds, unchecked, by their names: some of `PROMPTS`. Raises VoiceError."""
    return _read(Path(path))[0]


def _read(path: Path) -> tuple[Arrays, VoiceMetadata]:
    if path.suffix != ".npz":
        return _read_triple(path), VoiceMetadata()  # errors name the one of the three
    try:
        return _read_npz(path)
    except Exception as error:  # zip, npy and JSON parsers raise a dozen kinds on damaged files
        raise VoiceError(f"cannot read the voice {path}: {shorten(error)}") from error


def _read_npz(path: Path) -> tuple[Arrays, VoiceMetadata]:
    with open_plain(path, _MAX_FILE) as file, zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        twice = [prompt for prompt in PROMPTS if names.count(f"{prompt}.npy") > 1]
        if twice:
            raise ValueError(f"{', '.join(twice)} is in it twice")
        stored = [prompt for prompt in PROMPTS if f"{prompt}.npy" in names]
        arrays = {prompt: parse_npy(read_member(archive, f"{prompt}.npy", _MAX_BYTES)) for prompt in stored}
        return arrays, _parse_metadata(archive)


def _parse_metadata(archive: zipfile.ZipFile) -> VoiceMetadata:
    """The metadata, or none if the archive has none. Fields of later versions are left out."""
    if _METADATA not in archive.namelist():
        return VoiceMetadata()
    values = json.loads(read_member(archive, _METADATA, _MAX_METADATA_BYTES))
    if not isinstance(values, dict):
        raise ValueError(f"{_METADATA} is not an object")
    names = {field.name for field in dataclasses.fields(VoiceMetadata)}
    return VoiceMetadata(**{name: value for name, value in values.items() if name in names})


def _read_triple(prefix: Path) -> Arrays:
    return {prompt: read_npy(Path(f"{prefix}_{prompt}.npy")) for prompt in PROMPTS}


def read_npy(path: Path) -> npt.NDArray[np.generic]:
    """The array in an `.npy` file. No pickle is executed, and its declared size is not trusted. Raises VoiceError."""
    try:
        with open_plain(path, _MAX_FILE) as stream:
            return parse_npy(read_bounded(stream, _MAX_BYTES))
    except Exception as error:  # numpy's parser raises a dozen kinds on damaged files
        raise VoiceError(f"cannot read {path}: {shorten(error)}") from error
