"""Voices ("history prompts"): the tokens of a recording that a generation continues in the same voice.

Axes: N semantic tokens, K codebooks, T frames.
"""

import dataclasses
import difflib
import io
import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from bark_jax.config import BarkConfig
from bark_jax.files import replacing
from bark_jax.quoting import quote, shorten

_LANGUAGES = ("de", "en", "es", "fr", "hi", "it", "ja", "ko", "pl", "pt", "ru", "tr", "zh")
_SPEAKERS = tuple(f"speaker_{i}" for i in range(10))

VOICE_NAMES = (
    "announcer", *_SPEAKERS,
    *(f"{folder}{language}_{speaker}" for folder in ("", "v2/") for language in _LANGUAGES for speaker in _SPEAKERS),
)  # fmt: skip
"""The voices that Suno published. A checkpoint brings all, some or none of them."""

_FIELDS = {"semantic": 1, "coarse": 2, "fine": 2}  # → number of axes; each is stored as {field}_prompt
PROMPTS = tuple(f"{field}_prompt" for field in _FIELDS)
_MAX_BYTES = 2**23  # of one stored array
_MAX_FILE = 2**24  # bytes of one file
_MAX_TOKENS = 2_000_000  # of one array, nearly an hour of fine codes: int32, as it is saved, it can be read again


class VoiceError(ValueError):
    """A voice that cannot be found, read or written, or that does not fit the model."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Voice:
    """The three token sequences of one recording. Arrays of any integer dtype are accepted and become int32.

    Raises VoiceError unless the arrays are non-empty integers of these shapes with `fine[:len(coarse)] == coarse`;
    `check` compares them with a model.
    """

    semantic: npt.NDArray[np.int32]  # [N]
    coarse: npt.NDArray[np.int32]  # [2, T]
    fine: npt.NDArray[np.int32]  # [8, T]
    name: str | None = None  # for messages

    def __post_init__(self) -> None:
        arrays = {field: _as_array(getattr(self, field)) for field in _FIELDS}
        self._refuse([problem for field, array in arrays.items() for problem in _malformations(field, array)])
        for field, array in arrays.items():
            object.__setattr__(self, field, array.astype(np.int32))
        if not np.array_equal(self.fine[: len(self.coarse)], self.coarse):
            self._refuse([f"coarse {self.coarse.shape} is not the beginning of fine {self.fine.shape}"])

    def check(self, config: BarkConfig) -> None:
        """Raise VoiceError with everything that does not fit the model: codebooks, token ranges, rates."""
        self._refuse(list(_misfits(self, config)))

    def _refuse(self, problems: list[str]) -> None:
        if problems:
            raise VoiceError(f"{self.name or 'the voice'} cannot be used: " + "; ".join(problems))

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, npt.ArrayLike], config: BarkConfig | None = None, *, name: str | None = None
    ) -> Self:
        """From `semantic_prompt`, `coarse_prompt` and `fine_prompt`, checked against the model if a config is given."""
        missing = [prompt for prompt in PROMPTS if prompt not in arrays]
        if missing:
            raise VoiceError(f"{name or 'the voice'} lacks {', '.join(missing)}")
        try:
            fields = {field: _as_array(arrays[f"{field}_prompt"]) for field in _FIELDS}
        except Exception as error:  # NumPy's NpzFile reads its arrays only now
            raise VoiceError(f"{name or 'the voice'} cannot be read: {shorten(error)}") from error
        voice = cls(**fields, name=name)
        if config is not None:
            voice.check(config)
        return voice

    @classmethod
    def load(cls, path: Path | str, config: BarkConfig | None = None) -> Self:
        """From an `.npz` file, or the three `.npy` files `{path}_semantic_prompt.npy`, …, that Hugging Face stores.

        No pickle is executed, and declared sizes are not trusted. Raises VoiceError naming the file.
        """
        path = Path(path)
        try:
            arrays = _read_npz(path) if path.suffix == ".npz" else _read_triple(path)
        except VoiceError:  # of one of the three, which it names
            raise
        except Exception as error:  # zip and npy parsers raise a dozen kinds on damaged files
            raise VoiceError(f"cannot read the voice {path}: {shorten(error)}") from error
        return cls.from_arrays(arrays, config, name=str(path))

    def save(self, path: Path | str) -> None:
        """Write an `.npz` in Suno's layout, int32, whole or not at all. Raises VoiceError."""
        path = Path(path)
        if path.suffix != ".npz":
            raise VoiceError(f"cannot write the voice {path}: its name must end in .npz")
        try:
            with replacing(path) as temporary:
                np.savez(temporary, semantic_prompt=self.semantic, coarse_prompt=self.coarse, fine_prompt=self.fine)
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


def _misfits(voice: Voice, config: BarkConfig) -> Iterator[str]:
    if voice.semantic.max() >= config.semantic.vocab:
        yield f"semantic holds {voice.semantic.max()}, the vocabulary ends at {config.semantic.vocab - 1}"
    for field, codes, codebooks in (
        ("coarse", voice.coarse, config.coarse.codebooks),
        ("fine", voice.fine, config.codec.codebooks),
    ):
        if len(codes) != codebooks:
            yield f"{field} has {len(codes)} codebooks, not {codebooks}"
        if codes.max() >= config.codec.codebook_size:
            yield f"{field} holds {codes.max()}, the codebooks end at {config.codec.codebook_size - 1}"
    frames, tokens = voice.fine.shape[1], len(voice.semantic)
    ratio = round(config.codec.frame_rate_hz / config.semantic.rate_hz, 1)
    if round(frames / tokens, 1) != ratio:  # Suno's rule, to the rounding
        yield f"{frames} frames for {tokens} semantic tokens: the ratio is {frames / tokens:.2f}, not {ratio}"


def _read_npz(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    arrays = {}
    with _open(path) as file, zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            key, _, suffix = member.filename.rpartition(".")
            if suffix != "npy" or key not in PROMPTS:
                continue
            if key in arrays:
                raise ValueError(f"{key} is in it twice")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{key} is compressed by another method than deflate")  # others unpack without limit
            with archive.open(member) as stream:
                arrays[key] = _parse_npy(stream)
    return arrays


def _read_triple(prefix: Path) -> dict[str, npt.NDArray[np.generic]]:
    return {prompt: read_npy(Path(f"{prefix}_{prompt}.npy")) for prompt in PROMPTS}


def read_npy(path: Path) -> npt.NDArray[np.generic]:
    """The array in an `.npy` file. No pickle is executed, and its declared size is not trusted. Raises VoiceError."""
    try:
        with _open(path) as stream:
            return _parse_npy(stream)
    except Exception as error:  # numpy's parser raises a dozen kinds on damaged files
        raise VoiceError(f"cannot read {path}: {shorten(error)}") from error


def _open(path: Path) -> IO[bytes]:
    """A plain file of bounded size: opening a pipe may take for ever, and so may a zip file's table of contents."""
    if not path.is_file():
        raise FileNotFoundError("it is not a file" if path.exists() else "there is no such file")
    if path.stat().st_size > _MAX_FILE:
        raise ValueError(f"it exceeds {_MAX_FILE} bytes")
    return path.open("rb")


def _parse_npy(stream: IO[bytes]) -> npt.NDArray[np.generic]:
    """One array, viewed in the bytes that are there: `np.load` would allocate whatever shape is declared."""
    data = stream.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ValueError(f"an array exceeds {_MAX_BYTES} bytes")
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"format version {version} is not one that NumPy uses for arrays of integers")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if min(shape, default=0) < 0:
        raise ValueError(f"the shape {shape} is negative")
    flat = np.frombuffer(data, dtype, count=math.prod(shape), offset=file.tell())
    return flat.reshape(shape, order="F" if fortran_order else "C")


def list_voices(folder: Path) -> list[str]:
    """Sorted names of the voices in a folder, such as `v2/en_speaker_6`. Links that lead out of it are skipped."""
    root = folder.resolve()
    if root.parent.parent.name == "snapshots":  # in the hub's cache files are links to blobs of the same repository
        root = root.parents[2]
    files = (path for path in folder.rglob("*.npz") if path.is_file() and path.resolve().is_relative_to(root))
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in files)


def find_voice(spec: str, folder: Path | None, config: BarkConfig) -> Voice:
    """The voice of a name in a model's folder of voices, or of a path (see `Voice.load`), checked against the model.

    Raises VoiceError, suggesting near names for an unknown one.
    """
    names = list_voices(folder) if folder else []
    if folder and spec in names:
        return dataclasses.replace(Voice.load(folder / f"{spec}.npz", config), name=spec)
    if spec.endswith(".npz") or os.path.isfile(f"{spec}_semantic_prompt.npy"):
        return Voice.load(spec, config)
    if spec in VOICE_NAMES:
        raise VoiceError(
            f"the published voice {spec} did not come with this model: "
            "convert a checkpoint that brings it, or give the path of its .npz file"
        )
    near = difflib.get_close_matches(spec.lower(), names) or difflib.get_close_matches(spec.lower(), VOICE_NAMES)
    hint = f"did you mean {' or '.join(near)}?" if near else "give a name from `bark-jax voices` or an .npz file"
    raise VoiceError(f"there is no voice {quote(spec)}: {hint}")
