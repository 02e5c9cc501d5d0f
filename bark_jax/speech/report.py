"""Reports of speeches: every text, seed, setting, voice and token in a JSON file. The audio follows from the tokens."""

import dataclasses
import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bark_jax.config import BarkConfig
from bark_jax.errors import FileError
from bark_jax.files import check_writable, replacing
from bark_jax.generation import Tokens
from bark_jax.inputs import check_seed, check_tokens
from bark_jax.settings import Settings
from bark_jax.speech.joining import Join
from bark_jax.speech.script import Piece
from bark_jax.speech.spoken import Score, SpokenPiece, sum_timings
from bark_jax.voices.metadata import VoiceMetadata
from bark_jax.voices.voice import Voice

FORMAT = "bark_jax speech 1"
_MAX_SILENCE = 3600  # seconds
_PACKAGES = ("bark-jax", "jax", "jaxlib", "flax", "numpy")


class SpeechError(FileError):
    """A report that cannot be read or written, or a piece that is not there."""


class Stored(NamedTuple):
    """What a report says of a speech: the fields of a `Speech` but for its audio."""

    pieces: tuple[SpokenPiece, ...]
    seed: int
    lead: float
    join: Join
    model: str | None


def describe(pieces: Sequence[SpokenPiece], *, join: Join, **facts: Any) -> dict[str, Any]:
    """A speech as JSON would hold it, without its tokens. facts: of the speech, by the names of its fields."""
    return {
        "format": FORMAT,
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        **facts,
        "timings": sum_timings(said.timings for said in pieces),
        "join": dataclasses.asdict(join),
        "pieces": [_describe(said) for said in pieces],
    }


def write_report(path: Path, pieces: Sequence[SpokenPiece], **facts: Any) -> None:
    """Write what `describe` gives, and all tokens: whole or not at all. Raises SpeechError."""
    voices = list(dict.fromkeys((said.voice.name, said.voice) for said in pieces if said.voice))
    numbers = {voice: number for number, voice in enumerate(voices)}
    report = describe(pieces, **facts)
    for described, said in zip(report["pieces"], pieces, strict=True):
        described["tokens"] = _write_tokens(said.tokens)
        described["voice_number"] = said.voice and numbers[said.voice.name, said.voice]
    report["voices"] = [
        {"name": name, "metadata": v.metadata.known(), **_write_tokens(Tokens(v.semantic, v.coarse, v.fine))}
        for name, v in voices
    ]
    try:
        with replacing(path) as temporary:
            text = json.dumps(report, ensure_ascii=False, indent=1, default=_plain)
            temporary.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise SpeechError(f"cannot write the report {path}: {error}") from error


def check_report_path(path: Path) -> None:
    """Raise SpeechError, saying why, if a report cannot be written there: for use before the work."""
    try:
        check_writable(path)
    except OSError as error:
        raise SpeechError(f"cannot write the report {path}: {error}") from error


def _plain(number: Any) -> Any:
    """NumPy's numbers as Python's."""
    return number.item()


def read_report(path: Path, config: BarkConfig) -> Stored:
    """What `write_report` wrote, checked against the model. Raises SpeechError."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        if report["format"] != FORMAT:
            raise ValueError(f"its format is {report['format']!r}, not {FORMAT!r}")
        check_seed(report["seed"])
        voices = [_read_voice(stored, config) for stored in report["voices"]]
        pieces = tuple(_read_piece(stored, voices, config) for stored in report["pieces"])
        if not isinstance(model := report["model"], str | None):
            raise TypeError(f"its model is not a name: {model!r:.50}")
        return Stored(pieces, report["seed"], _seconds(report["lead"]), Join(**report["join"]), model)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        problem = f"there is no {error}" if isinstance(error, KeyError) else error
        raise SpeechError(f"cannot use the report {path}: {problem}") from error


def _describe(said: SpokenPiece) -> dict[str, Any]:
    return {
        **dataclasses.asdict(said.piece),
        "start": said.start,
        "end": said.end,
        "voice": said.voice and (said.voice.name or "unnamed"),
        "seed": said.seed,
        "take": said.take,
        "takes": said.takes,
        "settings": dataclasses.asdict(said.settings),
        "score": said.score and dataclasses.asdict(said.score),
        "semantic_tokens": len(said.tokens.semantic),
        "frames": said.tokens.fine.shape[1],
        "timings": dict(said.timings),
    }


def _read_piece(stored: dict[str, Any], voices: list[Voice], config: BarkConfig) -> SpokenPiece:
    check_seed(stored["seed"])
    names = [field.name for field in dataclasses.fields(Piece)]
    piece = Piece(**{name: stored[name] for name in names})
    if not isinstance(piece.text, str) or not isinstance(piece.speaker, str | None):
        raise TypeError(f"a text or a speaker is not a string: {piece}")
    _seconds(piece.pause)
    number = stored["voice_number"]
    return SpokenPiece(
        piece=piece, voice=None if number is None else voices[number], seed=stored["seed"], take=int(stored["take"]),
        takes=int(stored["takes"]),
        settings=Settings().replace(**stored["settings"]), tokens=_read_tokens(stored["tokens"], config),
        score=stored["score"] and Score(**stored["score"]),
        timings={stage: float(seconds) for stage, seconds in stored["timings"].items()},
    )  # fmt: skip


def _read_voice(stored: dict[str, Any], config: BarkConfig) -> Voice:
    metadata = VoiceMetadata(**stored["metadata"])
    voice = Voice(**_read_tokens(stored, config)._asdict(), name=stored["name"], metadata=metadata)
    voice.check(config)
    return voice


def _write_tokens(tokens: Tokens) -> dict[str, list[str]]:
    """Rows of numbers, each a string: one line of the file."""
    return {
        name: [" ".join(map(str, row)) for row in np.atleast_2d(array).tolist()]
        for name, array in tokens._asdict().items()
    }


def _read_tokens(stored: dict[str, list[str]], config: BarkConfig) -> Tokens:
    """Raises TokenError for what the model does not know."""
    rows = {name: np.array([row.split() for row in stored[name]], np.int64) for name in Tokens._fields}
    codebook = config.codec.codebook_size
    return Tokens(
        semantic=check_tokens(rows["semantic"], "semantic tokens", (1, None), config.semantic.vocab)[0],
        coarse=check_tokens(rows["coarse"], "coarse codes", (config.coarse.codebooks, None), codebook),
        fine=check_tokens(rows["fine"], "fine codes", (config.codec.codebooks, None), codebook),
    )


def _seconds(value: object) -> float:
    """A length of silence in a report."""
    if not isinstance(value, int | float) or not 0 <= value <= _MAX_SILENCE:
        raise ValueError(f"a silence must last 0 … {_MAX_SILENCE} seconds, not {value!r}")
    return float(value)
