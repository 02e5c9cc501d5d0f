"""Preparing data: what becomes of recordings, what is left out and why, and runs that are repeated or cut short."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from bark_jax.checkpoint import CheckpointError, read_network
from bark_jax.stages.codec import encode_waveform
from bark_jax.text import TextError
from bark_jax.training import DataError, KMeansTokenizer, open_audio, open_tokens
from bark_jax.training import prepare as preparing
from bark_jax.training.prepare import prepare
from bark_jax.training.prepare_tokens import align, count_frames
from bark_jax.training.semantic_tokens import count_tokens

from full_disk import room_for
from recordings import CLIPS, RATE, ROWS, job, sweep, write_model, write_recordings, write_table
from small import CONFIG


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `recordings`, `table.csv` and `model`, not to be changed."""
    folder = tmp_path_factory.mktemp("sources")
    write_model(folder / "model")
    write_recordings(folder / "recordings")
    write_table(folder / "table.csv")
    return folder


@pytest.fixture(scope="session")
def data(sources: Path) -> Path:
    """What is prepared of them, not to be changed."""
    folder = sources / "data"
    prepare(job(sources))
    return folder


@pytest.fixture
def copy(sources: Path, tmp_path: Path) -> Path:
    """The sources, to be changed; their times are those of the originals."""
    for name in ("recordings", "model"):
        shutil.copytree(sources / name, tmp_path / name)
    shutil.copy2(sources / "table.csv", tmp_path)
    return tmp_path


def report(folder: Path) -> dict[str, str]:
    """File → reason."""
    lines = (folder / "report.jsonl").read_text().splitlines()
    return {line["file"]: line["reason"] for line in map(json.loads, lines)}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_recordings_become_audio_and_tokens(sources: Path, data: Path) -> None:
    audio, tokens = open_audio(data, CONFIG), open_tokens(data, CONFIG)
    assert audio.names == tokens.names == [row["file"] for row in ROWS]
    tokenizer = KMeansTokenizer.load(data / "semantic_tokens.npz")
    codec = read_network(sources / "model", "codec", CONFIG)
    for i in (0, 5, 11):
        row, waveform, clip = ROWS[i], audio[i], tokens[i]
        recorded, _ = soundfile.read(sources / "recordings" / row["file"], dtype="float32")
        np.testing.assert_array_equal(waveform, recorded)
        assert (clip.text, clip.speaker) == (row["text"], row["speaker"])
        clip.tokens.check(CONFIG)
        np.testing.assert_array_equal(clip.tokens.semantic, tokenizer(waveform, RATE))
        whole = np.pad(waveform, (0, -len(waveform) % CONFIG.codec.hop))
        frames = clip.tokens.fine.shape[1]
        assert frames == count_frames(CONFIG, len(clip.tokens.semantic))
        np.testing.assert_array_equal(clip.tokens.fine, encode_waveform(codec, whole)[:, :frames])
    assert report(data) == {}


def test_the_same_recordings_give_the_same_files(sources: Path, data: Path, tmp_path: Path) -> None:
    prepare(job(sources, to=tmp_path / "again"))
    assert contents(tmp_path / "again") == contents(data)


def test_a_table_of_json_lines(sources: Path, data: Path, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.jsonl", [{**row, "length": 3} for row in ROWS])
    prepare(job(sources, transcripts=table, to=tmp_path / "data", only_audio=True))
    for name in ("audio.jsonl", "audio-00000.npy"):
        assert (tmp_path / "data" / name).read_bytes() == (data / name).read_bytes()


def test_audio_first_and_tokens_once_there_is_a_codec(copy: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = (copy / "model" / "codec.safetensors").rename(copy / "codec")
    tokenizer = (copy / "model" / "tokenizer.json").rename(copy / "tokenizer")
    with pytest.raises(DataError, match="has no codec yet: prepare with --only-audio"):
        prepare(job(copy))
    prepared = prepare(job(copy, only_audio=True))
    assert (prepared.made, prepared.manifest.audio.clips, prepared.manifest.tokens) == (("audio",), CLIPS, None)
    with pytest.raises(DataError, match="audio only"):
        open_tokens(copy / "data", CONFIG)
    codec.rename(copy / "model" / "codec.safetensors")
    with pytest.raises(TextError, match="there is no tokenizer"):
        prepare(job(copy))
    tokenizer.rename(copy / "model" / "tokenizer.json")
    monkeypatch.setattr(preparing, "prepare_audio", None)  # the recordings are not read again
    assert prepare(job(copy)).made == ("tokens",)
    assert prepare(job(copy)).made == ()
    assert prepare(job(copy, only_audio=True)).made == ()
    assert contents(copy / "data") == contents(data)


def rewrite_table(folder: Path) -> None:
    write_table(folder / "table.csv", [{**row, "text": "Other"} for row in ROWS])


def rewrite_recording(folder: Path) -> None:
    soundfile.write(folder / "recordings" / "clip3.wav", sweep(0.5, seed=99), RATE)


def change_codec(folder: Path) -> None:
    path = folder / "model" / "codec.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (rewrite_table, {}, "made from other recordings"),
        (rewrite_recording, {}, "made from other recordings"),
        (change_codec, {}, "made with another codec"),
        (lambda folder: None, {"seed": 1}, "made with another codec, tokenizer"),
    ],
)
def test_data_of_something_else_are_kept_unless_overwritten(
    copy: Path, data: Path, change: Callable[[Path], None], options: dict[str, Any], message: str
) -> None:
    shutil.copytree(data, copy / "data")
    change(copy)
    with pytest.raises(DataError, match=f"{message}.*choose another folder, or --overwrite"):
        prepare(job(copy, **options))
    assert contents(copy / "data") == contents(data)
    assert prepare(job(copy, **options, overwrite=True)).made == ("audio", "tokens")
    assert contents(copy / "data") != contents(data)
    assert prepare(job(copy, **options)).made == ()


@pytest.mark.parametrize(
    ("step", "done"), [("audio", 0), ("audio", 7), ("audio", CLIPS), ("clusters", 1), ("tokens", 0), ("tokens", CLIPS)]
)
def test_a_run_cut_short_leaves_nothing_that_looks_whole(
    sources: Path, data: Path, tmp_path: Path, step: str, done: int
) -> None:
    def interrupt(at: str, so_far: int, total: int) -> None:
        if (at, so_far) == (step, done):
            raise KeyboardInterrupt

    halted = job(sources, to=tmp_path / "data")
    with pytest.raises(KeyboardInterrupt):
        prepare(halted, interrupt)
    with pytest.raises(DataError, match="holds no training data" if step == "audio" else "audio only"):
        open_tokens(halted.to, CONFIG)
    assert not list(halted.to.glob(".partial*"))
    made = prepare(halted).made
    assert made == (("audio", "tokens") if step == "audio" else ("tokens",))
    assert contents(halted.to) == contents(data)


@pytest.mark.parametrize(("size", "whole"), [(50, "nothing"), (5000, "nothing"), (30_000, "audio")])
def test_a_full_disk(sources: Path, data: Path, tmp_path: Path, size: int, whole: str) -> None:
    filling = job(sources, to=tmp_path / "data")
    with room_for(size), pytest.raises(DataError, match=r"cannot write .*File too large"):
        prepare(filling)
    assert (filling.to / "manifest.json").exists() == (whole == "audio")
    assert not list(filling.to.glob(".partial*"))
    prepare(filling)
    assert contents(filling.to) == contents(data)


def test_what_a_killed_run_left_is_removed(sources: Path, data: Path, tmp_path: Path) -> None:
    to = tmp_path / "data"
    to.mkdir()
    for name in ("audio-00007.npy", "tokens-00000.npy", ".partial-0123456789abcdef.npy", "audio.jsonl"):
        (to / name).write_bytes(b"half")
    prepare(job(sources, to=to))
    assert contents(to) == contents(data)


def test_another_folder_is_left_alone(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "audio-00000.npy").write_bytes(b"mine")
    (tmp_path / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(DataError, match=r"holds other things, such as thesis\.txt"):
            prepare(job(sources, to=tmp_path, overwrite=overwrite))
    assert contents(tmp_path) == {"audio-00000.npy": b"mine", "thesis.txt": b"mine"}
    with pytest.raises(DataError, match=r"cannot write .*thesis\.txt"):
        prepare(job(sources, to=tmp_path / "thesis.txt" / "data"))


def test_a_tokenizer_of_other_data(sources: Path, data: Path, tmp_path: Path) -> None:
    given = tmp_path / "given.npz"
    other = KMeansTokenizer.fit(open_audio(data, CONFIG), RATE, CONFIG.semantic.vocab, CONFIG.semantic.rate_hz, seed=5)
    other.save(given)
    prepare(job(sources, to=tmp_path / "data", semantic_tokens=given))
    assert (tmp_path / "data" / "semantic_tokens.npz").read_bytes() == given.read_bytes()
    np.testing.assert_array_equal(
        open_tokens(tmp_path / "data", CONFIG)[0].tokens.semantic, other(open_audio(data, CONFIG)[0], RATE)
    )


@pytest.mark.parametrize("changes", [{"rate_hz": 25.0}, {"centroids": np.zeros((7, 80), np.float32)}])
def test_a_tokenizer_of_another_model(sources: Path, data: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    tokenizer = dataclasses.replace(KMeansTokenizer.load(data / "semantic_tokens.npz"), **changes)
    tokenizer.save(tmp_path / "other.npz")
    with pytest.raises(DataError, match=r"the model has 200 at 49\.9 Hz: fit one for this model"):
        prepare(job(sources, to=tmp_path / "data", semantic_tokens=tmp_path / "other.npz"))
    assert not (tmp_path / "data").exists()


def test_the_tokenizer_of_the_model_itself(sources: Path, data: Path, copy: Path) -> None:
    """A model speaks the tokens of the tokenizer that comes with it: none is fitted, and another one is refused."""
    other = KMeansTokenizer.fit(open_audio(data, CONFIG), RATE, CONFIG.semantic.vocab, CONFIG.semantic.rate_hz, seed=5)
    other.save(copy / "model" / "semantic_tokens.npz")
    with pytest.raises(DataError, match=r"makes other semantic tokens than .*leave out --semantic-tokens"):
        prepare(job(copy, semantic_tokens=data / "semantic_tokens.npz"))
    assert not (copy / "data").exists()
    prepare(job(copy, seed=3))
    clips = open_tokens(copy / "data", CONFIG)
    assert clips.semantic_tokens == other.fingerprint != open_tokens(data, CONFIG).semantic_tokens
    for clip, waveform in zip(clips, open_audio(data, CONFIG), strict=True):
        np.testing.assert_array_equal(clip.tokens.semantic, other(waveform, RATE))
    assert prepare(job(copy, semantic_tokens=copy / "data" / "semantic_tokens.npz")).made == ()
    shutil.copytree(data, copy / "old")
    with pytest.raises(DataError, match="made with another codec, tokenizer"):
        prepare(job(copy, to=copy / "old"))


def test_data_keep_when_the_model_has_learned_them(copy: Path, data: Path) -> None:
    """Training leaves the tokenizer of its data with the model: preparing the same data again makes nothing."""
    shutil.copytree(data, copy / "data")
    shutil.copy(data / "semantic_tokens.npz", copy / "model")
    assert prepare(job(copy)).made == ()


def test_a_tokenizer_whose_rate_is_not_what_it_says() -> None:
    codes = np.zeros((8, 75), np.int32)
    for tokens in (46, 49, 52):  # what tokenizers make of the ends of a clip differs
        semantic, cut = align(CONFIG, np.zeros(tokens, np.int32), codes, RATE)
        assert len(semantic) == min(tokens, 49)
        assert cut.shape[1] == count_frames(CONFIG, len(semantic))
    with pytest.raises(DataError, match=r"25 semantic tokens of 1\.00 s, not 49"):
        align(CONFIG, np.zeros(25, np.int32), codes, RATE)


@pytest.mark.parametrize("samples", range(100, 600, 7))
def test_frames_never_run_out(samples: int) -> None:
    tokens = count_tokens(samples, RATE, CONFIG.semantic.rate_hz)
    assert count_frames(CONFIG, tokens) <= -(-samples // CONFIG.codec.hop)


def add_bad_recordings(folder: Path) -> None:
    recordings = folder / "recordings"
    (recordings / "text.wav").write_text("not audio")
    (recordings / "nothing.wav").write_bytes(b"")
    (recordings / "folder.wav").mkdir()
    (recordings / "half.flac").write_bytes(b"fLaC" + bytes(30))
    soundfile.write(recordings / "empty.wav", np.zeros(0), RATE)
    soundfile.write(recordings / "brief.wav", sweep(0.05), RATE)
    soundfile.write(recordings / "silent.wav", np.zeros(RATE // 2), RATE)
    soundfile.write(recordings / "nan.wav", np.full(RATE // 2, np.nan), RATE, subtype="FLOAT")
    soundfile.write(recordings / "hour.wav", np.ones(61 * RATE), RATE)
    soundfile.write(recordings / "short.wav", sweep(0.11), RATE)
    soundfile.write(recordings / "long.wav", sweep(1.5), RATE)
    for name in ("wordy.wav", "foreign.wav", "blank.wav", "untold.ogg"):
        soundfile.write(recordings / name, sweep(0.5, rate=8000), 8000)
    (recordings / "notes.txt").write_text("not a recording")


BAD_ROWS = [
    {"file": "text.wav", "text": "Text"},
    {"file": "nothing.wav", "text": "Text"},
    {"file": "folder.wav", "text": "Text"},
    {"file": "half.flac", "text": "Text"},
    {"file": "empty.wav", "text": "Text"},
    {"file": "brief.wav", "text": "Text"},
    {"file": "silent.wav", "text": "Text"},
    {"file": "nan.wav", "text": "Text"},
    {"file": "hour.wav", "text": "Text"},
    {"file": "short.wav", "text": "Text"},
    {"file": "long.wav", "text": "Text"},
    {"file": "wordy.wav", "text": "Text " * 7},
    {"file": "foreign.wav", "text": "\u200b"},
    {"file": "missing.wav", "text": "Text"},
    {"file": "x" * 300 + ".wav", "text": "Text"},
    {"file": "../table.csv", "text": "Text"},
    {"file": "/etc/hosts", "text": "Text"},
    {"file": "a/../../b.wav", "text": "Text"},
    {"file": "blank.wav", "text": " \t"},
    {"file": "./clip0.wav", "text": "Text"},
]

REASONS = {
    "text.wav": "Format not recognised",
    "nothing.wav": "cannot read",
    "folder.wav": "no such file",
    "half.flac": "cannot read",
    "empty.wav": "0.00 s is too short",
    "brief.wav": "0.05 s is too short",
    "silent.wav": "it is silent",
    "nan.wav": "not finite",
    "hour.wav": "61.00 s is too long",
    "short.wav": "0.11 s is too short: 5 semantic tokens",
    "long.wav": "1.50 s is too long: the model speaks at most 0.96 s",
    "wordy.wav": "the text has 28 tokens, the model reads 24",
    "foreign.wav": "nothing in the text can be spoken",
    "untold.ogg": "the table of transcripts does not name it",
    "missing.wav": "there is no such recording",
    "x" * 300 + ".wav": "File name too long",
    "../table.csv": "leads out of the folder",
    "/etc/hosts": "there is no such recording",
    "a/../../b.wav": "leads out of the folder",
    "blank.wav": "there is no transcript",
    "clip0.wav": "stands in line 2 already",
}


def test_what_cannot_be_used_is_left_out_and_named(copy: Path) -> None:
    add_bad_recordings(copy)
    write_table(copy / "table.csv", [*ROWS, *BAD_ROWS])
    prepared = prepare(job(copy))
    found = report(copy / "data")
    assert found.keys() == REASONS.keys()
    for file, reason in REASONS.items():
        assert reason in found[file], file
    assert prepared.left_out == len(REASONS)
    assert open_tokens(copy / "data", CONFIG).names == [row["file"] for row in ROWS]
    assert open_audio(copy / "data", CONFIG).names[CLIPS:] == ["short.wav", "long.wav", "wordy.wav", "foreign.wav"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("clip1.wav,Hello, world,A", "a text with the delimiter must be quoted"),
        ("clip1.wav", "there is no transcript"),
        (",Text,A", "the line names no recording"),
    ],
)
def test_lines_of_csv_that_cannot_be_used(sources: Path, tmp_path: Path, line: str, reason: str) -> None:
    table = tmp_path / "table.csv"
    table.write_text(f'file,text,speaker\nclip0.wav,"Hello, world"\n{line}\n')
    prepare(job(sources, transcripts=table, to=tmp_path / "data", only_audio=True))
    assert reason in " ".join(report(tmp_path / "data").values())
    assert open_audio(tmp_path / "data", CONFIG).texts == ["Hello, world"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "the line is not of the table's format"),
        ("[1]", "the line is not of the table's format"),
        ("[" * 100_000, "the line is not of the table's format"),
        ('{"text": "Text"}', "the line names no recording"),
        ('{"file": [], "text": "Text"}', "the name of the recording is []"),
        ('{"file": "clip1.wav"}', "there is no transcript"),
        ('{"file": "clip1.wav", "text": 3}', "must be strings"),
        ('{"file": "clip1.wav", "text": "Text", "speaker": []}', "must be strings"),
        ('{"file": "clip1.wav", "text": "\\ud800"}', "lone surrogate"),
        ('{"file": "\\u0000\\ud800", "text": "Text"}', "no such recording"),
    ],
)
def test_lines_of_json_that_cannot_be_used(sources: Path, tmp_path: Path, line: str, reason: str) -> None:
    table = tmp_path / "table.jsonl"
    table.write_text('{"file": "clip0.wav", "text": "a\\u2028b", "speaker": 7}\n\n' + line + "\n", encoding="utf-8")
    prepare(job(sources, transcripts=table, to=tmp_path / "data", only_audio=True))
    assert reason in " ".join(report(tmp_path / "data").values())
    audio = open_audio(tmp_path / "data", CONFIG)
    assert (audio.texts, audio.speakers) == (["a b"], ["7"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("table.txt", b"", r"the table of transcripts .*table\.txt is empty"),
        ("table.csv", b"\xff\xfe", "is empty"),
        ("table.csv", b"clip0.wav|Hello\n", r"begins with 'clip0\.wav', 'hello'.*needs a column for the recording"),
        ("table.csv", b"sound,words\n", r"begins with 'sound', 'words'.*\(file, .*one for the text \(.*sentence"),
        ("table.json", b"[1, ", "neither JSON nor a table"),
        ("table.xlsx", b"PK\x03\x04\xff", "not UTF-8 text: save them as .csv"),
        ("table.csv", "file,text\nclip0.wav,Grüße".encode("latin-1"), "not UTF-8"),
        ("table.csv", b'file,text\nclip0.wav,"a" b\n', "line 2"),
        ("table.csv", b"file,text\n", "the table of transcripts is empty"),
        ("table.jsonl", b"", r"the table of transcripts .*\.jsonl is empty"),
        ("table.csv", b"file,text\nnowhere.wav,Text\n", "line 2 of the table, nowhere.wav: .*no such recording"),
        ("nowhere.csv", None, "No such file"),
    ],
)
def test_tables_of_which_nothing_can_be_used(
    sources: Path, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    empty = tmp_path / "recordings"
    empty.mkdir()
    with pytest.raises(DataError, match=message):
        prepare(job(sources, recordings=empty, transcripts=tmp_path / name, to=tmp_path / "data"))
    with pytest.raises(DataError, match="holds no training data"):
        open_audio(tmp_path / "data", CONFIG)


def test_no_clip_that_the_model_can_learn(copy: Path) -> None:
    write_table(copy / "table.csv", [{**row, "text": "Text " * 7} for row in ROWS])
    with pytest.raises(DataError, match=r"the first of 12 problems in .*report\.jsonl is clip0\.wav: the text has 28"):
        prepare(job(copy))
    assert len(report(copy / "data")) == CLIPS
    assert len(open_audio(copy / "data", CONFIG)) == CLIPS


def test_missing_folders(sources: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder of recordings"):
        prepare(job(sources, recordings=tmp_path / "nowhere", to=tmp_path / "data"))
    with pytest.raises(CheckpointError, match="is not a converted checkpoint"):
        prepare(job(sources, model=tmp_path, to=tmp_path / "data"))
    with pytest.raises(DataError, match=r"cannot read the tokenizer .*nowhere\.npz"):
        prepare(job(sources, semantic_tokens=tmp_path / "nowhere.npz", to=tmp_path / "data"))
    assert os.listdir(tmp_path) == []
