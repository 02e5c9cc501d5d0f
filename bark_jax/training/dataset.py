"""A folder of training data, as `bark-jax data prepare` makes it.

manifest.json                    what the data were made for and of; it is written last
audio.jsonl, audio-00000.npy …   recordings, int16 (see shards.py for the files)
tokens.jsonl, tokens-00000.npy … int32: of each clip its semantic tokens, then its codes, codebook by codebook
semantic_tokens.npz              what made the semantic tokens
report.jsonl                     what was left out, and why

Audio and tokens are sequences, for grain to index: of a fixed order, read at random from mapped files, picklable.
"""

import dataclasses
import json
import typing
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

from bark_jax.config import BarkConfig
from bark_jax.files import replacing
from bark_jax.training.shards import AGAIN, DataError, Shards, has_types, read_index
from bark_jax.voices.voice import Voice

FORMAT, VERSION = "bark_jax data", 2  # raised with every change to the layout
FULL_SCALE = 2**15  # of int16: a sample of 1.0
_FACTS: dict[str, type] = {"name": str, "text": str, "speaker": str}  # that an index knows of a clip

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class AudioManifest:
    """What the recordings are."""

    source: str  # hash of the files and rules they were made from
    clips: int
    seconds: float
    sample_rate: int  # Hz


@dataclass(frozen=True, kw_only=True)
class TokenManifest:
    """What the tokens are."""

    source: str  # hash of what they were made with
    codec: str  # SHA-256 of the codec's file
    semantic_tokens: str  # fingerprint of their tokenizer
    clusters: str  # where that came from: "given", or "seed 0" if it was fitted to the recordings
    clips: int
    seconds: float
    semantic_vocab: int
    semantic_rate_hz: float
    codebooks: int
    codebook_size: int
    frame_rate_hz: float


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a folder of data holds."""

    audio: AudioManifest
    tokens: TokenManifest | None = None


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A recording as the transformers learn it."""

    name: str  # the path of its file, as the table of transcripts has it
    text: str
    speaker: str  # "" where the table names none: one speaker too
    tokens: Voice  # semantic [N], coarse [2, T], fine [K, T]


class _Clips(Sequence[T]):
    """A sequence over a function that reads one clip, with what the index says of each."""

    def __init__(self, index: Sequence[dict[str, Any]]) -> None:
        self.names: list[str] = [line["name"] for line in index]
        self.texts: list[str] = [line["text"] for line in index]
        self.speakers: list[str] = [line["speaker"] for line in index]

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        chosen = range(len(self))[index]  # which also checks it, and counts from the end
        return self._read(chosen) if isinstance(chosen, int) else [self._read(i) for i in chosen]

    @abstractmethod
    def _read(self, clip: int) -> T: ...


class AudioClips(_Clips[npt.NDArray[np.float32]]):
    """Waveforms, float32 [N] in −1 … 1 at `sample_rate` Hz. `names`, `texts` and `speakers` are of the same order."""

    def __init__(self, folder: Path, sample_rate: int) -> None:
        index = read_index(folder, "audio", _FACTS)
        super().__init__(index)
        self.sample_rate = sample_rate
        self._shards = Shards(folder, "audio", np.int16, index)

    @property
    def samples(self) -> npt.NDArray[np.int64]:
        """The length of every clip, [clips]."""
        return self._shards.size

    def _read(self, clip: int) -> npt.NDArray[np.float32]:
        return self._shards.read(clip).astype(np.float32) / np.float32(FULL_SCALE)


class TokenClips(_Clips[Clip]):
    """Clips of tokens. `names`, `texts`, `speakers`, and the counts `tokens` and `frames` are of the same order.

    `codec` is the SHA-256 of the codec's file that made the codes, `semantic_tokens` the fingerprint of the tokenizer.
    """

    def __init__(self, folder: Path, manifest: TokenManifest, coarse_codebooks: int) -> None:
        index = read_index(folder, "tokens", {**_FACTS, "tokens": int, "frames": int})
        super().__init__(index)
        self.tokens = [line["tokens"] for line in index]
        self.frames = [line["frames"] for line in index]
        self.codec, self.semantic_tokens = manifest.codec, manifest.semantic_tokens
        self._codebooks, self._coarse = manifest.codebooks, coarse_codebooks
        self._shards = Shards(folder, "tokens", np.int32, index)
        for line in index:
            if line["size"] != line["tokens"] + self._codebooks * line["frames"]:
                raise DataError(f"{folder / 'tokens.jsonl'} contradicts itself about {line['name']}: {AGAIN}")

    def _read(self, clip: int) -> Clip:
        flat, count = self._shards.read(clip), self.tokens[clip]
        codes = flat[count:].reshape(self._codebooks, -1)
        voice = Voice(semantic=flat[:count], coarse=codes[: self._coarse], fine=codes, name=self.names[clip])
        return Clip(name=self.names[clip], text=self.texts[clip], speaker=self.speakers[clip], tokens=voice)


def open_audio(folder: Path | str, config: BarkConfig) -> AudioClips:
    """The recordings in a folder of data. Raises DataError when there are none for this model."""
    folder = Path(folder)
    audio = read_manifest(folder).audio
    _compare(folder, audio, {"sample_rate": config.codec.sample_rate})
    return AudioClips(folder, audio.sample_rate)


def open_tokens(folder: Path | str, config: BarkConfig) -> TokenClips:
    """The clips of tokens in a folder of data. Raises DataError when there are none for this model."""
    folder = Path(folder)
    tokens = read_manifest(folder).tokens
    if tokens is None:
        raise DataError(f"{folder} holds audio only: run `bark-jax data prepare` again once there is a codec")
    _compare(folder, tokens, expected_numbers(config))
    return TokenClips(folder, tokens, config.coarse.codebooks)


def expected_numbers(config: BarkConfig) -> dict[str, Any]:
    """The fields of TokenManifest that a model decides."""
    return {
        "semantic_vocab": config.semantic.vocab,
        "semantic_rate_hz": config.semantic.rate_hz,
        "codebooks": config.codec.codebooks,
        "codebook_size": config.codec.codebook_size,
        "frame_rate_hz": config.codec.frame_rate_hz,
    }


def _compare(folder: Path, made: AudioManifest | TokenManifest, expected: dict[str, Any]) -> None:
    problems = [
        f"{name} {getattr(made, name)} instead of {value}"
        for name, value in expected.items()
        if getattr(made, name) != value
    ]
    if problems:
        raise DataError(
            f"{folder} was made for another model: {', '.join(problems)}; use that model, or prepare data for this one"
        )


def read_manifest(folder: Path) -> Manifest:
    """What a folder of data holds. Raises DataError when it is none, or its preparation was not finished."""
    path = folder / "manifest.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} holds no training data: there is no {path.name}, which `bark-jax data prepare` writes last"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {error}; {AGAIN}") from error
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise DataError(f"{path} is not of training data: it lacks the format {FORMAT!r}")
    if (version := values.pop("version", None)) != VERSION:
        raise DataError(f"{path} has format version {version!r}, this release reads {VERSION}: {AGAIN}")
    if values.keys() != {"audio", "tokens"}:
        raise DataError(f"{path} is damaged: {AGAIN}")
    tokens = values["tokens"]
    return Manifest(
        audio=_section(AudioManifest, values["audio"], path),
        tokens=None if tokens is None else _section(TokenManifest, tokens, path),
    )


def _section(kind: type[Any], values: Any, path: Path) -> Any:
    if not has_types(values, typing.get_type_hints(kind)):
        raise DataError(f"{path} is damaged: {AGAIN}")
    return kind(**values)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it whole or not at all. Raises OSError."""
    values = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(manifest)}
    with replacing(folder / "manifest.json") as temporary:
        temporary.write_text(json.dumps(values, indent=2), encoding="utf-8")
