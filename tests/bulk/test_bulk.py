"""A list of texts into a folder: what is in it depends on the list alone."""

import io
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import soundfile

from bark_jax import Bark, BarkConfig
from bark_jax.bulk import run
from bark_jax.bulk.rows import Bad, Row, read_rows, seed_of
from bark_jax.bulk.speaking import Spoken, speak_all
from bark_jax.cli import main
from bark_jax.errors import FileError
from bark_jax.generation import Tokens

from folders import content, lines

GOOD = [{"id": f"row{number}", "text": "One. " * (number % 3 + 1), "seed": number} for number in range(7)]


BAD = [
    ("{", "not JSON"), ("[]", "not a JSON object"), ("[" * 100_000, "not JSON"), ('"\\ud800', "not JSON"),
    ({"text": "One."}, "id"), ({"id": "", "text": "One."}, "id"), ({"id": [1], "text": "One."}, "id"),
    ({"id": "../up", "text": "One."}, "name of a file"), ({"id": "a" * 999, "text": "One."}, "id"),
    ({"id": "a"}, "text"), ({"id": "a", "text": 1}, "text"), ({"id": "a", "text": ""}, "text"),
    ({"id": "a", "text": "One.", "sead": 1}, "did you mean seed"), ({"id": "a", "text": "One.", "voice": 1}, "voice"),
    ({"id": "a", "text": "One.", "voices": []}, "voices"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "reason"), BAD)
def test_bad_rows_have_a_reason(entry: Any, reason: str) -> None:
    rows, bad = read_rows("x.jsonl", lines([entry, GOOD[0]]))
    assert [row.id for row in rows] == ["row0"]
    assert (bad[0].line, len(bad)) == (1, 1)
    assert reason in bad[0].reason


def test_ids_are_taken_once() -> None:
    rows, bad = read_rows("x.jsonl", lines([GOOD[0], GOOD[1], GOOD[0]]))
    assert [row.id for row in rows] == ["row0", "row1"]
    assert bad == [Bad(id="row0", line=3, reason="row 1 has the same id")]


def test_csv_and_parquet_are_the_same_rows() -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    table = 'id,text,seed,voice,max_seconds\n1,"One, two.",5,eve,0.5\nb,Two.,,,\n'
    expected = [
        Row(id="1", text="One, two.", seed=5, voice="eve", overrides={"max_seconds": 0.5}),
        Row(id="b", text="Two.", seed=seed_of("b")),
    ]
    assert read_rows("x.csv", table.encode()) == (expected, [])
    columns = {"id": ["1", "b"], "text": ["One, two.", "Two."], "seed": [5, None], "voice": ["eve", None],
               "max_seconds": [0.5, None]}  # fmt: skip
    content = io.BytesIO()
    pytest.importorskip("pyarrow.parquet", reason="Parquet needs pyarrow").write_table(pyarrow.table(columns), content)
    assert read_rows("x.parquet", content.getvalue()) == (expected, [])


@pytest.mark.parametrize(("name", "data"), [("x.txt", b""), ("x.parquet", b"no"), ("x.csv", b"\xff")])
def test_lists_that_cannot_be_read(name: str, data: bytes) -> None:
    with pytest.raises(FileError, match=r"cannot read|needs pyarrow"):
        read_rows(name, data)


def pretend(rows: list[Row]) -> list[Any]:
    """Audio that depends on the row; "One. One. " cannot be spoken."""
    tokens, rate = Tokens(np.zeros(3, np.int32), np.zeros((2, 4), np.int32), np.zeros((8, 4), np.int32)), 24_000

    def audio(row: Row) -> Spoken:
        waveform = np.full(99 + row.seed, 0.1, np.float32)
        return Spoken(row=row, waveform=waveform, sample_rate=rate, tokens=tokens, score=None)

    return ["no voice" if len(row.text) == 10 else audio(row) for row in rows]


def warn(row: Row) -> list[str]:
    return ["too short"] if len(row.text) == 5 else []


def make(folder: Path, format: str = "flac", *, entries: list[Any] = GOOD, stop_after: int = 99) -> int:
    """Run until so many chunks are made; the number of rows that were spoken."""
    rows, bad = read_rows("x.jsonl", lines(entries))
    plan = run.make_plan(folder, format, "toy", rows, bad)
    spoken: list[Row] = []
    for number, own in run.open_folder(plan)[:stop_after]:
        run.make_chunk(folder, format, number, own, lambda rows: spoken.extend(rows) or pretend(rows), warn)  # type: ignore[func-returns-value]
    if stop_after == 99:
        run.close_folder(plan)
    return len(spoken)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "CHUNK", 3)


@pytest.mark.parametrize("format", ["flac", "wav", "parquet"])
def test_an_interrupted_run_is_continued(tmp_path: Path, format: str) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    assert make(tmp_path / "whole", format) == 7
    assert make(tmp_path / "cut", format, stop_after=1) == 3
    (tmp_path / "cut" / ".partial-1.flac").write_bytes(b"half")
    assert make(tmp_path / "cut", format) == 4
    assert make(tmp_path / "cut", format) == 0
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    errors = [json.loads(line) for line in (tmp_path / "cut" / "errors.jsonl").read_text().splitlines()]
    assert errors == [{"id": "row1", "reason": "no voice"}, {"id": "row4", "reason": "no voice"}]
    warned = [json.loads(line) for line in (tmp_path / "cut" / "warnings.jsonl").read_text().splitlines()]
    assert warned == [{"id": f"row{number}", "warnings": ["too short"]} for number in (0, 3, 6)]


def test_files_that_are_there_are_not_made_twice(tmp_path: Path) -> None:
    make(tmp_path)
    run.marker(tmp_path, 0).unlink()  # killed between the files of a chunk and its marker
    before = content(tmp_path)
    (tmp_path / "row2.flac").unlink()
    assert make(tmp_path) == 2  # with the row that could not be spoken
    assert content(tmp_path) | {".chunks/00000.json": ""} == before | {".chunks/00000.json": ""}


@pytest.mark.parametrize(
    ("format", "entries"), [("wav", GOOD), ("flac", GOOD[1:]), ("flac", [*GOOD[1:], {**GOOD[0], "seed": 9}])]
)
def test_a_folder_has_one_run(tmp_path: Path, format: str, entries: list[Any]) -> None:
    make(tmp_path)
    before = content(tmp_path)
    with pytest.raises(FileError, match="run of another"):
        make(tmp_path, format, entries=entries)
    assert content(tmp_path) == before


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileError, match="no run"):
        make(tmp_path)


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    make(tmp_path, stop_after=1)
    before = content(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fail)
        with pytest.raises(FileError, match=r"No space left.*start the same command again"):
            make(tmp_path)
    assert content(tmp_path) == before
    assert make(tmp_path) == 4


def test_shards_are_read_by_pandas_and_have_everything(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs pyarrow")
    make(tmp_path, "parquet")
    rows = [row for file in sorted(tmp_path.glob("*.parquet")) for row in parquet.read_table(file).to_pylist()]
    assert {row["id"] for row in rows} == {"row0", "row2", "row3", "row5", "row6"}
    for row in rows:
        samples, rate = soundfile.read(io.BytesIO(row["audio"]["bytes"]))
        assert (rate, len(samples) / rate) == (row["sample_rate"], row["seconds"])
        assert (len(row["semantic"]), len(row["coarse"]), len(row["fine"])) == (3, 2, 8)


@pytest.mark.slow
def test_rows_are_what_speak_gives() -> None:
    bark = Bark.from_config(BarkConfig.tiny(), jax.random.key(0))
    entries = [
        {"id": "a", "text": "One. [pause 0.1] Two.", "seed": 1, "max_seconds": 0.3},
        {"id": "b", "text": "Three.", "seed": 2, "max_seconds": 0.3, "voice": "nobody"},
        {"id": "c", "text": "Four.", "seed": 2**40},
        {"id": "d", "text": "Five.", "seed": 4, "max_seconds": 0.2},
    ]
    rows, bad = read_rows("x.jsonl", lines(entries))
    assert not bad
    a, b, c, d = speak_all(bark, rows, 1)
    assert isinstance(b, str)
    assert "nobody" in b
    assert isinstance(c, str)
    assert "seed" in c
    for spoken, entry in ((a, entries[0]), (d, entries[3])):
        speech = bark.speak(str(entry["text"]), seed=entry["seed"], max_seconds=entry["max_seconds"])  # type: ignore[arg-type]
        assert isinstance(spoken, Spoken)
        np.testing.assert_array_equal(spoken.waveform, speech.waveform)
        np.testing.assert_array_equal(spoken.tokens.fine, speech.tokens.fine)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.jsonl"], 3, "cannot read"),
        (["texts.txt"], 3, "must end in"),
        (["empty.jsonl"], 2, "no rows"),
        (["texts.jsonl", "--workers", "0"], 2, "--workers"),
        (["texts.jsonl", "--model", "random:nothing"], 4, "nothing"),
    ],
)
def test_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    arguments: list[str], code: int, words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name, data in (("texts.jsonl", lines(GOOD)), ("texts.txt", b""), ("empty.jsonl", b"\n")):
        Path(name).write_bytes(data)
    assert (
        main(["bulk", *arguments, "--to", "out", *([] if "--model" in arguments else ["--model", "random:tiny"])])
        == code
    )
    assert words in capsys.readouterr().err
    assert not Path("out").exists()
