"""Bad usage and bad input of the command line: refused at once, in one line that names what was meant."""

import subprocess
import sys
from pathlib import Path

import pytest

import bark_jax
from bark_jax.cli import main

from test_cli import run

TINY = ["--model", "random:tiny"]

# Runs a command in a process of its own, and says whether JAX was imported.
_PROBE = """
import sys
from bark_jax.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as exit_:
    code = exit_.code or 0
print(code, "jax" in sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["say", "--help"], 0),
        (["convert", "--help"], 0),
        (["convert", "no/such/model/at all", "out"], 4),
        (["convert", ".", "out"], 4),
        (["convert", ".", "out", "--size", "small"], 4),
        (["sya", "Hello"], 2),
        (["say", "Hello", "--voise", "x"], 2),
        (["say", "", *TINY], 2),
        (["say", "--file", "missing.txt", *TINY], 2),
        (["say", "Hello", "--voice", "nobody", *TINY], 2),
        (["say", "Hello", "--voice", "nobody", "--model", "nano"], 2),
        (["say", "Hello", "--speaker", "ANNA=missing.npz", "--model", "nano"], 2),
        (["say", "Hello", "-o", "no/such/folder/a.wav", *TINY], 3),
        (["say", "Hello", "--model", "random:tinny"], 4),
        (["say", "Hello", "--model", "no/such/model/at all"], 4),
        (["say", "Hello", "--pieces", __file__, "--model", "nano"], 3),
        (["say", "Hello", "--speaker", "AN:NA=eve", "--model", "nano"], 2),
        (["say", "\U0001f44d", "--model", "nano"], 2),
        (["say", "Hello [pause 61] there", "--model", "nano"], 2),
        (["say", "[pause]", "--model", "nano"], 2),
        (["say", "Hello", "--report", __file__, "--model", "nano"], 3),
        (["say", "Hello", "-o", "a.wav", "--srt", "./a.wav", "--model", "nano"], 2),
        (["say", "Hello", "--stream", "a.wav", "-o", "a.wav", "--model", "nano"], 2),
        (["say", "Hello", "--report", "a.npz", "--save-voice", "a.npz", "--model", "nano"], 2),
        (["say", 'Hello <break time="2min"/> there', "--model", "nano"], 2),
        (["voices", "show", "nobody"], 2),
        (["bench", "--model", "nanoo"], 4),
        (["bench", "--seconds", "-1"], 2),
        (["data", "prepare", "missing", "--transcripts", "t.csv", "--to", "data", "--model", "nano"], 2),
        (["data", "prepare", ".", "--transcripts", "missing.csv", "--to", "data", "--model", "nano"], 2),
        (["train", "fine", "--config", "missing.toml"], 2),
    ],
)
def test_refusals_and_help_do_not_import_jax(tmp_path: Path, arguments: list[str], code: int) -> None:
    root = Path(__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{_PROBE}", *arguments],
        cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    said = result.stderr.splitlines()
    assert said[-1] == f"{code} False", result.stderr
    assert len(said) <= 2  # no traceback, and nobody has introduced himself
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "unused"),
    [
        (["--help"], {"numpy", "jax", "huggingface_hub"}),
        (["say", "[pause 61]", "--model", "nano"], {"jax", "flax", "scipy", "huggingface_hub"}),
        (
            ["say", "It is nine.", "--model", "nano", "--max-seconds", "0.1", "--quiet"],
            {"torch", "transformers", "matplotlib", "orbax", "grain", "fastapi", "ray"},
        ),
    ],
)
def test_commands_import_what_they_use(tmp_path: Path, arguments: list[str], unused: set[str]) -> None:
    probe = _PROBE.replace(
        'print(code, "jax" in sys.modules,', "print(*(name.partition('.')[0] for name in sys.modules),"
    )
    result = subprocess.run(
        [sys.executable, "-c", probe, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert not unused & set(result.stderr.splitlines()[-1].split())


def test_the_public_names_are_all_there() -> None:
    assert set(bark_jax.__all__) <= set(dir(bark_jax))
    assert all(getattr(bark_jax, name).__name__ == name for name in bark_jax.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Brak'"):
        _ = bark_jax.Brak


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"bark-jax {bark_jax.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["sya", "Hello"], "did you mean say?"),
        (["say", "Hello", "--voise", "x"], "there is no option --voise; did you mean --voice"),
        (["say", "Hello", "--sead=1"], "there is no option --sead; did you mean --seed"),
        (["say", "Hello", "-model", "nano"], "there is no option -model; did you mean --model"),
        (["say", "Hello", "--keep-voice", "roling"], "did you mean rolling?"),
        (["say", "Hello", "--model", "random:smal"], "did you mean small?"),
        (["voices", "chekc", "a.npz"], "did you mean check?"),
        (["voices", "list", "--langauge", "de"], "did you mean --language"),
        (["bench", "--secnods", "3"], "did you mean --seconds"),
        (["say", "-hello"], "bark-jax say -- -hello"),
        (["say", "--hello-there"], "bark-jax say -- --hello-there"),
    ],
)
def test_what_is_misspelled_is_suggested(capsys: pytest.CaptureFixture[str], arguments: list[str], meant: str) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (4 if "random:smal" in arguments else 2, "")
    assert meant in err
    assert len(err.splitlines()) == 1


def test_a_text_may_begin_with_a_dash(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    output = str(tmp_path / "a.wav")
    options = ["-o", output, *TINY, "--max-seconds", "0.1", "--quiet"]
    assert run(capsys, "say", *options, "--", "-hello")[0] == 0
    assert run(capsys, "say", *options, "--seed", "1", "-5 degrees")[0] == 0


def test_bad_usage_shows_where_help_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["say", "Hello", "--seed", "x"])
    assert capsys.readouterr().err == (
        "bark-jax say: argument --seed: invalid int value: 'x' (see bark-jax say --help)\n"
    )
