"""`bark-jax voices`: list, show, check, save, repair and delete."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bark_jax.checkpoint import write_checkpoint
from bark_jax.config import NETWORKS
from bark_jax.models.parameters import parameter_shapes
from bark_jax.voices.library import save_voice
from bark_jax.voices.metadata import VoiceMetadata
from bark_jax.voices.reading import read_metadata
from bark_jax.voices.voice import Voice

from test_cli import run
from voice_arrays import TINY, arrays, with_value


@pytest.fixture
def kept(library: Path) -> Path:
    """A library of two voices, one of them damaged."""
    metadata = VoiceMetadata(language="pt-BR", description="calm", text="Olá", seed=3)
    save_voice(Voice.from_arrays(arrays(), metadata=metadata), "ana")
    (library / "broken.npz").write_bytes(b"PK")
    return library


def test_all_names_are_listed(capsys: pytest.CaptureFixture[str], kept: Path) -> None:
    code, out, err = run(capsys, "voices")
    rows = [line.split() for line in out.splitlines()]
    assert code == 0
    assert rows[0] == ["ana", "pt-BR", "library", "calm"]
    assert rows[1][:3] == ["broken", "-", "library"]
    assert "cannot read" in out.splitlines()[1]
    assert len(rows) == 2 + 2 + 271
    assert ["adam", "en", "nano", "espeak-ng,", "adam"] in rows
    assert ["v2/en_speaker_6", "en", "published", "not", "here"] in rows
    assert "not here come with the published models: --model suno/bark-small" in err
    assert run(capsys, "voices", "list")[1] == out


def test_a_models_voices_are_listed_with_the_librarys(capsys: pytest.CaptureFixture[str], kept: Path) -> None:
    code, out, err = run(capsys, "voices", "--model", "random:tiny")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["ana", "broken"]
    assert "no voices came with random:tiny" in err
    assert run(capsys, "voices", "list", "--model", "random:tiny")[1] == out


@pytest.mark.filterwarnings("always::bark_jax.voices.errors.VoiceAdjusted")
def test_a_models_own_voices_go_first(capsys: pytest.CaptureFixture[str], kept: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    networks = {
        name: ((path, np.zeros(shape, np.float32)) for path, shape in parameter_shapes(TINY, name).items())
        for name in NETWORKS
    }
    own = Voice.from_arrays(arrays(tokens=40))
    voices = [("ana", own), ("v2/de_speaker_3", own)]
    write_checkpoint(model, TINY, networks, tokenizer_json="{}", voices=voices, default_voice="ana")
    entries = json.loads(run(capsys, "voices", "--model", str(model), "--json")[1])
    assert [(entry["name"], entry["source"], entry["language"], entry["default"]) for entry in entries] == [
        ("ana", "model", None, True), ("v2/de_speaker_3", "model", "de", False), ("broken", "library", None, False),
    ]  # fmt: skip
    _, out, err = run(capsys, "voices", "--model", str(model), "show", "ana", "--json")
    assert f"the model's own voice, not that of your library: to use that one, give its path, {kept / 'ana.npz'}" in err
    shown = json.loads(out)
    assert (shown["source"], shown["semantic_tokens"]) == ("model", 40)
    assert run(capsys, "voices", "save", "v2/de_speaker_3", "mine", "--model", str(model))[0] == 0
    assert read_metadata(kept / "mine.npz").language == "de"


@pytest.mark.parametrize(("language", "names"), [("pt", ["ana"]), ("pt-BR", ["ana"]), ("p", []), ("xx", [])])
def test_a_language_is_chosen(capsys: pytest.CaptureFixture[str], kept: Path, language: str, names: list[str]) -> None:
    code, out, err = run(capsys, "voices", "list", "--language", language, "--model", "random:tiny")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == names
    assert ("no voice is known to speak" in err) == (not names)


def test_published_voices_are_chosen_by_language(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "voices", "--language", "de", "--json")
    entries = json.loads(out)
    assert code == 0
    assert len(entries) == 20
    assert {(entry["source"], entry["language"], entry["here"]) for entry in entries} == {("published", "de", False)}


def test_a_voice_is_shown(capsys: pytest.CaptureFixture[str], kept: Path) -> None:
    code, out, _ = run(capsys, "voices", "show", "ana", "--json")
    assert code == 0
    assert json.loads(out) == {
        "name": "ana", "source": "library", "path": str(kept / "ana.npz"), "language": "pt-BR", "description": "calm",
        "text": "Olá", "seed": 3, "seconds": 0.4, "semantic_tokens": 20, "frames": 30,
        "codebooks": "2 coarse, 8 fine", "frames_per_token": 1.5, "problems": [],
    }  # fmt: skip
    code, out, _ = run(capsys, "voices", "show", str(kept / "ana.npz"), "--model", "random:tiny")
    rows = dict(line.split(None, 1) for line in out.splitlines())
    assert (code, rows["source"], rows["problems"]) == (0, "file", "none")


def test_every_file_is_checked(capsys: pytest.CaptureFixture[str], kept: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "odd.npz", **with_value("semantic", 9999) | {"fine_prompt": arrays()["fine_prompt"][:7]})
    specs = ["ana", str(tmp_path / "odd.npz"), "broken", "nobody"]
    code, out, err = run(capsys, "voices", "check", *specs, "--model", "random:tiny")
    lines = out.splitlines()
    assert code == 2
    assert lines[:2] == ["ana: good", f"{tmp_path / 'odd.npz'}:"]
    assert [line.split()[0] for line in lines[2:4]] == ["semantic", "fine"]
    assert (lines[4], lines[6]) == ("broken:", "nobody:")
    assert err == "bark-jax: not usable: 3 of 4\n"
    assert run(capsys, "voices", "check", "ana")[:2] == (0, "ana: good\n")


def test_voices_are_saved_with_what_is_known(capsys: pytest.CaptureFixture[str], kept: Path, tmp_path: Path) -> None:
    source = str(shutil.copy(kept / "ana.npz", tmp_path / "source.npz"))
    code, out, err = run(capsys, "voices", "save", source, "friends/ana", "--description", "loud")
    assert (code, out) == (0, "")
    assert str(kept / "friends" / "ana.npz") in err
    assert read_metadata(kept / "friends" / "ana.npz") == VoiceMetadata(
        language="pt-BR", description="loud", text="Olá", seed=3
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "anna"], "did you mean ana?"),
        (["show", "broken"], "cannot read the voice"),
        (["show", "v2/de_speaker_3"], "published voice v2/de_speaker_3 is not here"),
        (["save", "ana", "ana"], "--force"),
        (["save", "ana", "Adam", "--model", "nano"], "nano has a voice adam of its own"),
        (["save", "adam", "EVE"], "nano has a voice eve of its own"),
        (["save", "ana", "None"], "is not a name for a voice"),
        (["save", "me.wav", "me"], "me.wav is a recording"),
        (["delete", "adam"], "only voices of your library can be deleted"),
        (["delete", "v2/de_speaker_3"], "only voices of your library can be deleted"),
        (["delete", "odd.npz"], "odd.npz is a file, not a voice of your library"),
        (["delete", "anna"], "did you mean ana?"),
        (["repair", "odd.npz"], "odd.npz cannot be used: semantic holds 10001"),
        (["repair", "ana", "ana"], "--force"),
        (["save", "ana", "a?b"], "is not a name for a voice"),
        (["save", "ana", "other", "--language", "German"], "not 'German'"),
        (["save", "odd.npz", "odd"], "odd.npz cannot be used: semantic holds 10001"),
        (["shout"], "invalid choice"),
    ],
)
def test_errors_are_one_line(
    capsys: pytest.CaptureFixture[str], kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    np.savez("odd.npz", **with_value("semantic", 10_001))
    code, out, err = run(capsys, "voices", *arguments)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[-1]
    assert sorted(path.name for path in kept.iterdir()) == ["ana.npz", "broken.npz"]
    assert [path.name for path in tmp_path.iterdir()] == ["odd.npz"]


def test_nano_names_its_default_voice(capsys: pytest.CaptureFixture[str]) -> None:
    entries = json.loads(run(capsys, "voices", "--model", "nano", "--json")[1])
    assert {entry["name"]: entry["default"] for entry in entries} == {"adam": False, "eve": True}


@pytest.mark.parametrize("name", ["ana", "ANA", "friends/ana"])
def test_voices_are_deleted(capsys: pytest.CaptureFixture[str], library: Path, name: str) -> None:
    path = save_voice(Voice.from_arrays(arrays()), name if "/" in name else "ana")
    code, _, err = run(capsys, "voices", "delete", name)
    assert (code, err) == (0, f"deleted {path}\n")
    assert list(library.iterdir()) == []


@pytest.mark.parametrize(("model", "known"), [("random:tiny", True), ("/no/where", False), ("who/knows", False)])
def test_voices_are_compared_with_the_model_they_name(
    capsys: pytest.CaptureFixture[str], library: Path, model: str, known: bool
) -> None:
    values = arrays(tokens=20)
    values["semantic_prompt"][-1] = 250  # more than random:tiny has
    save_voice(Voice.from_arrays(values, metadata=VoiceMetadata(model=model)), "ana")
    code, out, err = run(capsys, "voices", "check", "ana")
    assert (code == 0) == (not known)
    assert ("vocabulary ends at 199" in out) == known
    assert (f"made by {model}, which is not here" in err) == (not known)
    assert ("vocabulary ends at 199" in run(capsys, "voices", "show", "ana")[1]) == known
    assert (run(capsys, "voices", "save", "ana", "copy")[0] == 0) == (not known)


def test_nanos_voices_are_good(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "voices", "check", "adam", "Eve")[:2] == (0, "adam: good\nEve: good\n")


def test_changes_are_named_by_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    np.savez(tmp_path / "loose.npz", **{key: array[None] for key, array in arrays().items()})
    code, out, _ = run(capsys, "voices", "check", str(tmp_path / "loose.npz"))
    assert code == 0
    assert "good, with changes to\n  semantic: a leading axis of 1 removed" in out


def test_a_wrong_ratio_is_repaired(capsys: pytest.CaptureFixture[str], kept: Path, tmp_path: Path) -> None:
    values = arrays(tokens=60)
    values["semantic_prompt"] = values["semantic_prompt"][:40]
    file = tmp_path / "long.npz"
    Voice.from_arrays(values, metadata=VoiceMetadata(language="pt")).save(file)
    code, out, _ = run(capsys, "voices", "check", str(file))
    assert code == 2
    assert "90 frames for 40 semantic tokens" in out
    assert "`bark-jax voices repair FILE`" in out
    code, _, err = run(capsys, "voices", "repair", str(file))
    assert code == 0
    assert "the last 40 of 40 semantic tokens and 60 of 90 frames are kept" in err
    assert read_metadata(tmp_path / "long-repaired.npz").language == "pt"
    assert run(capsys, "voices", "check", str(tmp_path / "long-repaired.npz"))[0] == 0
    assert run(capsys, "voices", "repair", str(file), "long")[0] == 0
    assert run(capsys, "voices", "repair", "long")[0] == 0
    assert {"long.npz", "long-repaired.npz"} <= {path.name for path in kept.iterdir()}
    assert run(capsys, "voices", "repair", str(file), str(file))[0] == 0
    assert Voice.load(file).fine.shape == (8, 60)


def test_missing_fine_codes_are_made_by_the_model(
    capsys: pytest.CaptureFixture[str], kept: Path, tmp_path: Path
) -> None:
    values = arrays()
    del values["fine_prompt"]
    np.savez(tmp_path / "part.npz", **values)
    repair = ["voices", "repair", str(tmp_path / "part.npz"), "whole"]
    code, _, err = run(capsys, *repair)
    assert code == 2
    assert "it lacks fine_prompt (`bark-jax voices repair FILE --model MODEL`" in err
    code, _, err = run(capsys, *repair, "--model", "random:tiny")
    assert code == 0
    assert "fine: missing, made from coarse by the model's fine stage" in err
    assert run(capsys, "voices", "check", "whole", "--model", "random:tiny")[0] == 0
