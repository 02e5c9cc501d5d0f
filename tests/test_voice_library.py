"""Voices by name: a model's folder, the library, paths."""

import json
import os
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bark_jax.config import BarkConfig
from bark_jax.voices.errors import VoiceAdjusted, VoiceError
from bark_jax.voices.library import (
    Located,
    catalogue,
    choose_voice,
    delete_voice,
    find_voice,
    list_voices,
    locate,
    save_voice,
    voice_file,
)
from bark_jax.voices.metadata import VoiceMetadata
from bark_jax.voices.names import VOICE_NAMES
from bark_jax.voices.voice import Voice

from voice_arrays import TINY, arrays, assert_same, save_triple, with_value

PUBLISHED = BarkConfig.small()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder of voices, with one of them outside."""
    voices = tmp_path / "model" / "voices"
    (voices / "v2").mkdir(parents=True)
    for path in ("announcer.npz", "en_speaker_3.npz", "v2/en_speaker_6.npz", "../../outside.npz"):
        Voice.from_arrays(arrays()).save(voices / path)
    return voices


def test_voices_are_listed_by_name(folder: Path) -> None:
    (folder / "notes.txt").touch()
    assert list_voices(folder) == ["announcer", "en_speaker_3", "v2/en_speaker_6"]
    assert list_voices(folder / "nowhere") == []


@pytest.mark.parametrize("name", ["announcer", "v2/en_speaker_6"])
def test_voices_are_found_by_name(folder: Path, name: str) -> None:
    voice = find_voice(name, folder, TINY)
    assert_same(voice, arrays())
    assert voice.name == name


def test_voices_are_found_by_path(folder: Path, tmp_path: Path) -> None:
    prefix = save_triple(tmp_path / "me", arrays())
    for spec in (str(folder / "announcer.npz"), str(prefix)):
        assert_same(find_voice(spec, None, TINY), arrays())


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("V2/EN_SPEAKER_6", "v2/en_speaker_6"),
        ("v2\\en_speaker_6", "v2/en_speaker_6"),
        ("v2/en_speaker_6.npz", "v2/en_speaker_6"),
        ("V2\\En_Speaker_6.NPZ", "v2/en_speaker_6"),
        ("ANNOUNCER", "announcer"),
        ("jo\u0308rg", "Jörg"),
    ],
)
def test_voices_are_found_in_other_spellings(folder: Path, library: Path, spec: str, name: str) -> None:
    save_voice(mine(), "Jörg")
    voice = find_voice(spec, folder, TINY)
    assert voice is not None
    assert voice.name == name


def test_of_two_spellings_the_exact_one_is_found(library: Path) -> None:
    save_voice(mine(), "Ana")
    save_voice(mine(), "ana")
    assert locate("ana").name == "ana"
    with pytest.raises(VoiceError, match="may be Ana or ana"):
        locate("ANA")


@pytest.mark.parametrize(
    "spec",
    ["mine/me", "mine/me.npz", "mine\\me", "~/mine/me", "~/mine/me.npz", "~/MINE/ME.NPZ", "Mine/Me", "{home}/mine/ME",
     "triple", "Triple", "~/triple", "triple_semantic_prompt.npy", "LOUD", "loud.npz", "loud"],
)  # fmt: skip
def test_files_are_found_in_other_spellings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    (tmp_path / "mine").mkdir()
    Voice.from_arrays(arrays()).save(tmp_path / "mine" / "me.npz")
    Voice.from_arrays(arrays()).save(tmp_path / "loud.npz")
    (tmp_path / "loud.npz").rename(tmp_path / "LOUD.NPZ")
    save_triple(tmp_path / "triple", arrays())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    spec = spec.format(home=tmp_path)
    assert_same(find_voice(spec, None, TINY), arrays())
    assert_same(Voice.load(spec, TINY), arrays())


@pytest.mark.parametrize("spec", ["me.json", "me.pt", "me.npy", "ME.TXT"])
def test_files_of_other_kinds_are_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path(spec).touch()
    with pytest.raises(VoiceError, match=rf"{spec}: it is a file of another kind; a voice is an \.npz file"):
        find_voice(spec, None, TINY)
    Path("folder").mkdir()
    with pytest.raises(VoiceError, match="folder: it is a folder; a voice is"):
        find_voice("folder", None, TINY)


def test_folders_are_scanned_once(folder: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned = []
    monkeypatch.setattr(
        "bark_jax.voices.library.list_voices", lambda place: scanned.append(place) or list_voices(place)
    )
    save_voice(mine(), "me")
    for _ in range(3):
        for name in ("announcer", "me"):
            assert find_voice(name, folder, TINY) is not None
    assert scanned == [folder, library]
    save_voice(mine(), "you")
    assert find_voice("you", folder, TINY) is not None


def test_voices_that_another_process_saves_and_deletes_are_noticed(library: Path) -> None:
    path = save_voice(mine(), "me")
    assert locate("me").source == "library"
    path.rename(path.with_name("you.npz"))
    assert locate("you").source == "library"
    with pytest.raises(VoiceError, match="no voice 'me'"):
        locate("me")


@pytest.mark.parametrize("name", ["../../outside", "v2/../../../outside", "link", "", "v2", "\0"])
def test_names_do_not_leave_the_folder(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / "link.npz").symlink_to(tmp_path / "outside.npz")
    with pytest.raises(VoiceError, match="there is no voice"):
        find_voice(name, folder, TINY)


def test_links_within_a_hub_snapshot_are_followed(tmp_path: Path) -> None:
    repository = tmp_path / "models--me--bark"
    voices = repository / "snapshots" / "abc" / "voices"
    voices.mkdir(parents=True)
    (repository / "blobs").mkdir()
    Voice.from_arrays(arrays()).save(repository / "blobs" / "blob.npz")
    (repository / "blobs" / "blob.npz").rename(repository / "blobs" / "0123")
    (voices / "mine.npz").symlink_to("../../../blobs/0123")
    assert_same(find_voice("mine", voices, TINY), arrays())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("en_speaker_33", r"no voice 'en_speaker_33': did you mean en_speaker_3"),
        ("V2_EN_SPEAKER_6", r"did you mean v2/en_speaker_6"),
        ("V2\\ZH_Speaker_0.npz", "published voice v2/zh_speaker_0 is not here"),
        ("Adam", "adam is a voice of the built-in model only: use it with --model nano"),
        ("me.wav", r"me\.wav is a recording; .* bark-jax voices create me\.wav NAME"),
        ("~/My Voice.MP3", r"My Voice\.MP3 is a recording"),
        ("xyzzy", "no voice 'xyzzy': give a name"),
        ("a" * 5000, "there is no voice"),
        ("v2/zh_speaker_0", "published voice v2/zh_speaker_0 is not here: use a model"),
        ("missing.npz", r"cannot read the voice missing\.npz"),
    ],
)
def test_unknown_voices_get_advice(folder: Path, spec: str, message: str) -> None:
    with pytest.raises(VoiceError, match=message):
        find_voice(spec, folder, TINY)


def test_voice_that_does_not_fit_is_named(folder: Path) -> None:
    np.savez(folder / "odd.npz", **with_value("semantic", 9999))
    with pytest.raises(VoiceError, match=r"odd\.npz cannot be used: semantic holds 9999"):
        find_voice("odd", folder, TINY)


def mine(**metadata: Any) -> Voice:
    return Voice.from_arrays(arrays(tokens=40), metadata=VoiceMetadata(**metadata))


@pytest.mark.parametrize("name", ["me", "Jörg", "v2/mine", "a.b c-d_1", "聲音"])
def test_saved_voices_are_found_by_name(library: Path, name: str) -> None:
    assert save_voice(mine(language="de"), name) == library / f"{name}.npz"
    voice = find_voice(name, None, TINY)
    assert_same(voice, arrays(tokens=40))
    assert (voice.name, voice.metadata.language) == (name, "de")
    assert locate(name) == Located(name=name, source="library", path=library / f"{name}.npz")
    assert list_voices(library) == [name]


def test_any_folder_can_be_a_library(library: Path, tmp_path: Path) -> None:
    save_voice(mine(), "me", folder=tmp_path / "other")
    assert find_voice("me", None, TINY, library=tmp_path / "other").name == "me"
    assert not library.exists()


def test_a_path_is_written_as_it_is(library: Path, tmp_path: Path) -> None:
    path = tmp_path / "me.npz"
    for _ in range(2):
        assert save_voice(mine(), str(path)) == path
    assert not library.exists()


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../me", "v2/../../me", "/me", "me/", "v2//me", "C:me", "\\\\server\\me", "a\\b",
        "me?", "me*", 'm"e',
        "<me>", "me|you", ".hidden", "me.", "me ", " me", "con", "NUL", "v2/Com1", "aux.mine", "me\n", "\0", "\x1b[31m",
        "\ud800", "a" * 201, "ü" * 101,
    ],
)  # fmt: skip
def test_names_that_some_system_cannot_keep_are_refused(library: Path, name: str) -> None:
    with pytest.raises(VoiceError, match=r"is not a name for a voice, as .*\.npz") as refusal:
        save_voice(mine(), name)
    str(refusal.value).encode()
    assert not library.exists()


@given(name=st.text(min_size=1) | st.lists(st.sampled_from(["..", ".", "/", "a", "\\", "C:"])).map("".join))
@settings(max_examples=200, deadline=None)
def test_no_name_leaves_the_library(name: str) -> None:
    library = Path("/nowhere/library")
    assume(not name.endswith(".npz"))
    try:
        path = voice_file(name, folder=library)
    except VoiceError:
        return
    assert Path(os.path.normpath(path)).is_relative_to(library)
    assert PureWindowsPath(name).drive == PureWindowsPath(name).root == ""
    assert path.relative_to(library).with_suffix("").as_posix() == name


def test_a_taken_name_is_overwritten_only_when_told_to(library: Path) -> None:
    save_voice(mine(), "me")
    other = Voice.from_arrays(arrays(tokens=60))
    with pytest.raises(VoiceError, match=r"voice me already, in .*me\.npz: .*overwrite \(--force\)"):
        save_voice(other, "me")
    assert_same(find_voice("me", None, TINY), arrays(tokens=40))
    save_voice(other, "me", overwrite=True)
    assert_same(find_voice("me", None, TINY), arrays(tokens=60))


def test_a_library_that_cannot_be_made_is_named(library: Path) -> None:
    library.touch()
    with pytest.raises(VoiceError, match=r"cannot make the folder .*voices"):
        save_voice(mine(), "me")


def test_the_models_own_voice_goes_first(folder: Path, library: Path) -> None:
    save_voice(mine(), "announcer")
    save_voice(mine(), "v2/zh_speaker_0")
    with pytest.warns(VoiceAdjusted, match=r"announcer is the model's own voice, not that of your library.*npz"):
        assert_same(find_voice("announcer", folder, TINY), arrays())
    assert_same(find_voice("announcer", None, TINY), arrays(tokens=40))
    assert_same(find_voice("v2/zh_speaker_0", folder, TINY), arrays(tokens=40))
    with pytest.warns(VoiceAdjusted):
        found = locate("Announcer", folder)
    assert found == Located(name="announcer", source="model", path=folder / "announcer.npz")


def test_published_names_tell_their_language(folder: Path) -> None:
    languages = {entry.name: entry.metadata.language for entry in catalogue()}
    assert languages["v2/de_speaker_3"] == languages["de_speaker_0"] == "de"
    assert languages["announcer"] is languages["speaker_4"] is None
    assert find_voice("v2/en_speaker_6", folder, TINY).metadata.language == "en"
    save_voice(mine(language="pt-BR"), "v2/pt_speaker_1")
    assert find_voice("v2/pt_speaker_1", folder, TINY).metadata.language == "pt-BR"


def test_the_catalogue_has_each_name_once_as_what_it_stands_for(folder: Path, library: Path) -> None:
    save_voice(mine(description="calm"), "me")
    save_voice(mine(), "announcer")
    (library / "broken.npz").write_bytes(b"PK")
    (library / ".partial-12.npz").touch()
    entries = catalogue(folder)
    assert [(entry.name, entry.source) for entry in entries[:5]] == [
        ("announcer", "model"), ("en_speaker_3", "model"), ("v2/en_speaker_6", "model"),
        ("broken", "library"), ("me", "library"),
    ]  # fmt: skip
    assert {entry.source for entry in entries[5:]} == {"published"}
    assert len(entries) == len({entry.name for entry in entries}) == 271 + 2
    broken, me = entries[3:5]
    assert "broken.npz" in str(broken.problem)
    assert (me.metadata.description, me.path, me.problem) == ("calm", library / "me.npz", None)
    assert catalogue(folder, published=False) == entries[:5]


def test_near_names_of_the_library_are_suggested() -> None:
    save_voice(mine(), "grandmother")
    with pytest.raises(VoiceError, match="did you mean grandmother"):
        find_voice("Grandmothr", None, TINY)


def test_published_names_are_complete(shared_data: Path) -> None:
    manifest = json.loads((shared_data / "manifests" / "presets_manifest.json").read_text(encoding="utf-8"))
    assert sorted(VOICE_NAMES) == sorted(manifest)
    assert len(VOICE_NAMES) == 271


def test_published_voices_load(shared_data: Path) -> None:
    names = list_voices(shared_data / "voices")
    assert set(names) <= set(VOICE_NAMES)
    assert "v2/en_speaker_6" in names
    for name in names:
        with np.load(shared_data / "voices" / f"{name}.npz") as file:
            assert_same(find_voice(name, shared_data / "voices", PUBLISHED), dict(file))


@pytest.mark.parametrize(
    ("model", "name", "taken"),
    [
        ("nano", "adam", True), ("nano", "Eve", True), ("nano", "announcer", False),
        ("suno/bark-small", "announcer", True), ("suno/bark", "V2/EN_Speaker_6", True), ("suno/bark", "adam", False),
        ("{model}", "Announcer", True), ("{model}", "adam", False), ("/no/where", "adam", False), (None, "adam", False),
    ],
)  # fmt: skip
def test_names_of_the_models_own_voices_are_refused(
    folder: Path, library: Path, model: str | None, name: str, taken: bool
) -> None:
    voice = mine(model=model and model.format(model=folder.parent))
    if not taken:
        assert save_voice(voice, name).is_file()
        return
    with pytest.raises(VoiceError, match="of its own, which would always be used instead: take another name"):
        save_voice(voice, name)
    assert not library.exists()


def test_deleted_voices_leave_no_empty_folders(library: Path) -> None:
    path, other = save_voice(mine(), "friends/old/me"), save_voice(mine(), "friends/you")
    assert delete_voice("Friends/Old/Me") == path
    assert [file for file in library.rglob("*") if file.is_file()] == [other]
    assert not path.parent.exists()
    with pytest.raises(VoiceError, match="no voice 'friends/old/me'"):
        locate("friends/old/me")
    delete_voice("friends/you")
    assert list(library.iterdir()) == []


def test_a_model_may_name_a_default_voice(folder: Path) -> None:
    assert choose_voice(None, TINY, folder) is choose_voice(None, TINY, None) is None
    (folder / "default.txt").write_text("v2/en_speaker_6\n")
    voice = choose_voice(None, TINY, folder)
    assert voice is not None
    assert voice.name == "v2/en_speaker_6"
    assert choose_voice("none", TINY, folder) is choose_voice("None", TINY, folder) is None


@pytest.mark.parametrize("content", [b"", b"nobody", b"../outside", b"\xff", b"a" * 2000])
def test_a_default_voice_that_is_none_is_named(folder: Path, content: bytes) -> None:
    (folder / "default.txt").write_bytes(content)
    with pytest.raises(VoiceError, match=r"default\.txt"):
        choose_voice(None, TINY, folder)
