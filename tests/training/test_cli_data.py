"""`bark-jax data prepare`: what it writes and says, and how it fails."""

from pathlib import Path

import pytest

from bark_jax.training import open_audio, open_tokens

from recordings import CLIPS, ROWS, write_model, write_recordings, write_table
from small import CONFIG
from test_cli import run


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    write_model(folder / "model")
    write_recordings(folder / "recordings")
    write_table(folder / "table.jsonl", [*ROWS, {"file": "nowhere.wav", "text": "Text"}])
    return folder


def command(sources: Path, to: Path, *more: str) -> list[str]:
    table, model = str(sources / "table.jsonl"), str(sources / "model")
    return [
        "data",
        "prepare",
        str(sources / "recordings"),
        "--transcripts",
        table,
        "--to",
        str(to),
        "--model",
        model,
        *more,
    ]


def test_audio_then_tokens(capsys: pytest.CaptureFixture[str], sources: Path, tmp_path: Path) -> None:
    to = tmp_path / "data"
    shown = f"{to}: {CLIPS} recordings, 8 s; "
    left_out = f"1 left out, see {to / 'report.jsonl'}"
    unknown = (
        f"warning: {sources / 'model'} has no semantic_tokens.npz: its semantic and coarse networks "
        "cannot learn from these data, its codec and fine networks can\n"
    )
    missing = f"warning: there is no recording of nowhere.wav (line {CLIPS + 1}) in {sources / 'recordings'}\n"
    assert run(capsys, *command(sources, to, "--only-audio")) == (0, "", f"{missing}{shown}{left_out}\n")
    assert len(open_audio(to, CONFIG)) == CLIPS
    shown += f"tokens of {CLIPS} of them, 8 s; {left_out}"
    assert run(capsys, *command(sources, to)) == (0, "", f"{unknown}{missing}{shown}\n")
    assert len(open_tokens(to, CONFIG)) == CLIPS
    assert run(capsys, *command(sources, to)) == (0, "", f"{unknown}{missing}{shown}; all of it was there already\n")
    assert run(capsys, *command(sources, to, "--quiet", "--overwrite")) == (0, "", unknown + missing)


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--transcripts", "nowhere.csv"], 2, "nowhere.csv: No such file"),
        (["--semantic-tokens", "nowhere.npz"], 2, "cannot read the tokenizer nowhere.npz"),
        (["--semantic-tokens", "nowhere.npz", "--seed", "1"], 2, "not allowed with"),
        (["--seed", "-1"], 2, "seed must be"),
        (["--model", "nano", "--semantic-tokens", "nowhere.npz"], 2, "cannot read the tokenizer nowhere.npz"),
        (["--model", "nowhere"], 4, "neither a folder nor a hub repository"),
        (["--to", "/proc/data"], 2, "cannot write /proc/data"),
    ],
)
def test_errors_are_one_line_with_an_exit_code(
    capsys: pytest.CaptureFixture[str], sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    more: list[str], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    found, out, err = run(capsys, *command(sources, tmp_path / "data", *more))
    assert (found, out) == (code, "")
    assert message in err.strip().splitlines()[-1]
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
