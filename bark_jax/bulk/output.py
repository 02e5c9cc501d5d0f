"""Where spoken rows go: a file each, or Parquet shards. Everything is written whole or not at all."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bark_jax.audio import encode_audio
from bark_jax.bulk.rows import Row, load_parquet
from bark_jax.bulk.speaking import Spoken
from bark_jax.files import replacing

FORMATS = ("flac", "wav", "parquet")


def is_made(folder: Path, format: str, row: Row) -> bool:
    """Whether a row has its own file already."""
    return format != "parquet" and _file(folder, format, row).is_file()


def write(folder: Path, format: str, number: int, spoken: Sequence[Spoken]) -> None:
    """The rows of a chunk. Raises OSError."""
    if format == "parquet":
        _write_shard(folder / f"shard-{number:05}.parquet", spoken)
        return
    for own in spoken:
        _replace(_file(folder, format, own.row), encode_audio(own.waveform, own.sample_rate, f".{format}"))


def write_json_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Raises OSError."""
    _replace(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def remove_partial(folder: Path) -> None:
    """What a process that was killed left half-written."""
    for file in folder.glob(".partial-*"):
        file.unlink(missing_ok=True)


def _file(folder: Path, format: str, row: Row) -> Path:
    return folder / f"{row.id}.{format}"


def _replace(path: Path, data: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def _write_shard(path: Path, spoken: Sequence[Spoken]) -> None:
    import pyarrow  # type: ignore[import-untyped]

    parquet = load_parquet()
    codes = pyarrow.list_(pyarrow.list_(pyarrow.int32()))
    columns: dict[str, tuple[Any, list[Any]]] = {
        "id": (pyarrow.string(), [own.row.id for own in spoken]),
        "text": (pyarrow.string(), [own.row.text for own in spoken]),
        "voice": (pyarrow.string(), [own.row.voice for own in spoken]),
        "seed": (pyarrow.int64(), [own.row.seed for own in spoken]),
        "audio": (  # as `datasets` stores an Audio
            pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]),
            [
                {"bytes": encode_audio(own.waveform, own.sample_rate, ".flac"), "path": f"{own.row.id}.flac"}
                for own in spoken
            ],
        ),
        "sample_rate": (pyarrow.int32(), [own.sample_rate for own in spoken]),
        "seconds": (pyarrow.float64(), [own.seconds for own in spoken]),
        "semantic": (pyarrow.list_(pyarrow.int32()), [own.tokens.semantic.tolist() for own in spoken]),
        "coarse": (codes, [own.tokens.coarse.tolist() for own in spoken]),
        "fine": (codes, [own.tokens.fine.tolist() for own in spoken]),
        "score": (pyarrow.float64(), [own.score for own in spoken]),
    }
    arrays = {name: pyarrow.array(values, kind) for name, (kind, values) in columns.items()}
    with replacing(path) as temporary:
        parquet.write_table(pyarrow.table(arrays), temporary)
