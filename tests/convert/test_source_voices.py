"""The voices that come with a source."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bark_jax.config import BarkConfig
from bark_jax.convert import convert_checkpoint
from bark_jax.convert.voices import VoicesLeftOut, read_voices
from bark_jax.voices.voice import Voice

PROMPTS = ("semantic_prompt", "coarse_prompt", "fine_prompt")


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    fine = random.integers(64, size=(8, 60), dtype=np.int32)
    return {
        "semantic_prompt": random.integers(200, size=40, dtype=np.uint16),
        "coarse_prompt": fine[:2].astype(np.int64),
        "fine_prompt": fine,
    }


def write_triple(folder: Path, name: str, arrays: dict[str, np.ndarray]) -> dict[str, str]:
    paths = {prompt: f"speaker_embeddings/{name}_{prompt}.npy" for prompt in arrays}
    for prompt, array in arrays.items():
        (folder / paths[prompt]).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / paths[prompt], array)
    return paths


def write_index(folder: Path, voices: dict[str, Any]) -> None:
    index = {"repo_or_path": "/etc"} | voices
    (folder / "speaker_embeddings_path.json").write_text(json.dumps(index))


def test_huggingface_voices(huggingface: Path, tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    voices = {name: write_triple(huggingface, name, arrays) for name in ("announcer", "v2/en_speaker_6")}
    write_index(huggingface, voices)
    convert_checkpoint(huggingface, tmp_path / "out", progress=False)
    written = sorted(path.relative_to(tmp_path / "out" / "voices") for path in (tmp_path / "out").rglob("*.npz"))
    assert written == [Path("announcer.npz"), Path("v2/en_speaker_6.npz")]
    voice = Voice.load(tmp_path / "out" / "voices" / "v2" / "en_speaker_6.npz")
    assert np.array_equal(voice.semantic, arrays["semantic_prompt"])
    assert np.array_equal(voice.fine, arrays["fine_prompt"])


def names_of(folder: Path, config: BarkConfig) -> list[str]:
    return [name for name, _ in read_voices(folder, config)]


@pytest.mark.parametrize("in_name", [False, True])
@pytest.mark.parametrize("in_files", [False, True])
def test_an_index_of_windows(
    tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig, in_name: bool, in_files: bool
) -> None:
    paths = write_triple(tmp_path, "v2/en_speaker_6", arrays)
    index = {prompt: path.replace("speaker_embeddings/", "speaker_embeddings\\") for prompt, path in paths.items()}
    if in_files:  # as some programs unpack archives
        for prompt, path in paths.items():
            (tmp_path / path).rename(tmp_path / index[prompt].replace("/", "\\"))
        index = {prompt: path.replace("/", "\\") for prompt, path in index.items()}
    write_index(tmp_path, {"v2\\en_speaker_6" if in_name else "v2/en_speaker_6": index})
    assert names_of(tmp_path, config) == ["v2/en_speaker_6"]


@pytest.mark.parametrize("start", ["speaker_embeddings/", "speaker_embeddings/v2/"])
def test_an_index_that_starts_at_the_voices(
    tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig, start: str
) -> None:
    paths = write_triple(tmp_path, "v2/en_speaker_6", arrays)
    write_index(tmp_path, {"v2/en_speaker_6": {prompt: path.removeprefix(start) for prompt, path in paths.items()}})
    assert names_of(tmp_path, config) == ["v2/en_speaker_6"]


@pytest.mark.parametrize("name", ["my voice", "v1.5", "Jörg", "mine/my voice.2"])
def test_any_name_that_a_file_can_have(
    tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig, name: str
) -> None:
    write_index(tmp_path, {name: write_triple(tmp_path, name, arrays)})
    assert names_of(tmp_path, config) == [name]


@pytest.mark.parametrize("indexed", [True, False])
def test_voices_beside_the_index(
    tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig, indexed: bool
) -> None:
    paths = write_triple(tmp_path, "announcer", arrays)
    write_triple(tmp_path, "v2/added", arrays)
    np.savez(tmp_path / "speaker_embeddings" / "own.npz", **arrays)
    np.savez(tmp_path / "speaker_embeddings" / "v2" / "mine.npz", **arrays)
    if indexed:
        write_index(tmp_path, {"announcer": paths})
    assert names_of(tmp_path, config) == ["announcer", "v2/added", "own", "v2/mine"]


def test_what_is_missing_or_there_twice_is_named(
    tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig
) -> None:
    voices = {name: write_triple(tmp_path, name, arrays) for name in ("announcer", "no fine", "no coarse")}
    np.savez(tmp_path / "speaker_embeddings" / "announcer.npz", **arrays)
    (tmp_path / voices["no fine"]["fine_prompt"]).unlink()
    del voices["no coarse"]["coarse_prompt"]
    absent = {
        f"de_speaker_{i}": {prompt: f"speaker_embeddings/{i}_{prompt}.npy" for prompt in PROMPTS} for i in range(12)
    }
    write_index(tmp_path, voices | absent)
    with pytest.warns() as warned:
        assert names_of(tmp_path, config) == ["announcer", "no coarse"]
    derived, left_out = (str(warning.message) for warning in warned)
    assert derived.startswith("no coarse: coarse: missing")
    assert "'no fine': lacks fine_prompt" in left_out
    assert "'de_speaker_9', and 2 more: the files are not there" in left_out
    assert "'announcer': there is another of this name" in left_out
    assert len(left_out.splitlines()) == 1


def test_a_damaged_index_is_named(tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig) -> None:
    write_triple(tmp_path, "announcer", arrays)
    (tmp_path / "speaker_embeddings_path.json").write_text("{")
    with pytest.warns(VoicesLeftOut, match=r"speaker_embeddings_path\.json.* is not valid JSON"):
        assert names_of(tmp_path, config) == ["announcer"]


def test_voices_whose_files_lack_one_are_named(
    tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig
) -> None:
    for prompt in PROMPTS:
        (tmp_path / write_triple(tmp_path, f"no {prompt[:4]}", arrays)[prompt]).unlink()
    with pytest.warns() as warned:
        assert names_of(tmp_path, config) == ["no coar"]
    assert "'no fine': lacks fine_prompt" in str(warned[-1].message)
    assert "'no sema': lacks semantic_prompt" in str(warned[-1].message)


def test_suffixes_in_any_letter_case(tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig) -> None:
    paths = write_triple(tmp_path, "Triple", arrays)
    for path in paths.values():
        (tmp_path / path).rename((tmp_path / path).with_name(Path(path).name.upper()))
    np.savez(tmp_path / "speaker_embeddings" / "up.npz", **arrays)
    (tmp_path / "speaker_embeddings" / "up.npz").rename(tmp_path / "speaker_embeddings" / "UP.NPZ")
    assert names_of(tmp_path, config) == ["TRIPLE", "UP"]


def test_voices_in_other_folders_are_named(tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig) -> None:
    elsewhere = ("bark/assets/prompts/q.npz", "prompts/p.NPZ", "root.npz", "voices/v.npz")
    for path in (*elsewhere, "speaker_embeddings/good.npz", "semantic_tokens.npz", ".hidden.npz"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        with (tmp_path / path).open("wb") as file:
            np.savez(file, **arrays)
    with pytest.warns(VoicesLeftOut) as warned:
        assert names_of(tmp_path, config) == ["good"]
    named = ", ".join(map(repr, elsewhere))
    assert str(warned[0].message).endswith(f"left out: {named}: not in speaker_embeddings or assets/prompts")


def test_an_index_with_a_byte_order_mark(tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig) -> None:
    write_index(tmp_path, {"mine": write_triple(tmp_path, "mine", arrays)})
    index = tmp_path / "speaker_embeddings_path.json"
    index.write_text(index.read_text(), encoding="utf-8-sig")
    assert names_of(tmp_path, config) == ["mine"]


def test_files_that_the_index_names_are_taken_once(
    tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig
) -> None:
    (tmp_path / "speaker_embeddings").mkdir()
    np.savez(tmp_path / "speaker_embeddings" / "n1.npz", **arrays)
    np.savez(tmp_path / "root.npz", **arrays)
    triple = write_triple(tmp_path, "n0", arrays)
    write_index(tmp_path, {"my voice": triple, "other": "speaker_embeddings\\n1.npz", "third": "root.npz"})
    assert names_of(tmp_path, config) == ["my voice", "other", "third"]


def test_null_in_an_index_is_missing(tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig) -> None:
    write_index(tmp_path, {"mine": write_triple(tmp_path, "mine", arrays) | {"coarse_prompt": None}})
    with pytest.warns(UserWarning, match="coarse: missing"):
        assert names_of(tmp_path, config) == ["mine"]


@pytest.mark.parametrize("linked", [False, True])
def test_absolute_paths_in_the_folder(
    linked: bool, tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig
) -> None:
    folder = tmp_path / "source"
    paths = write_triple(folder, "mine", arrays)
    write_index(folder, {"mine": {prompt: str(folder / path) for prompt, path in paths.items()}})
    (tmp_path / "link").symlink_to(folder)
    assert names_of(tmp_path / "link" if linked else folder, config) == ["mine"]


def test_a_path_elsewhere_is_named_as_it_stands(
    tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig
) -> None:
    folder = tmp_path / "data"
    paths = write_triple(folder, "mine", arrays)
    path = f"/backup{folder}/x.npy"
    write_index(folder, {"mine": paths | {"fine_prompt": path}})
    with pytest.warns(VoicesLeftOut, match=rf"'mine': .*refers to '{path}', which leaves the folder"):
        assert names_of(folder, config) == []


def test_suno_voices(tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig) -> None:
    folder = tmp_path / "assets" / "prompts" / "v2"
    folder.mkdir(parents=True)
    np.savez(folder / "fr_speaker_1.npz", **arrays)
    np.savez(folder.parent / "speaker_0.npz", **arrays)
    assert [name for name, _ in read_voices(tmp_path, config)] == ["speaker_0", "v2/fr_speaker_1"]


def test_hub_cache_layout(tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig) -> None:
    """Links into the blobs of the same repository are allowed, others are not."""
    blobs, snapshot = tmp_path / "repo" / "blobs", tmp_path / "repo" / "snapshots" / "0123abc"
    paths = write_triple(snapshot, "announcer", arrays)
    write_index(snapshot, {"announcer": paths})
    blobs.mkdir()
    for prompt, path in paths.items():
        (snapshot / path).rename(blobs / prompt)
        (snapshot / path).symlink_to(os.path.relpath(blobs / prompt, (snapshot / path).parent))
    assert [name for name, _ in read_voices(snapshot, config)] == ["announcer"]
    (blobs / "fine_prompt").rename(tmp_path / "elsewhere")
    path = snapshot / paths["fine_prompt"]
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.warns(VoicesLeftOut, match="'announcer': .*leaves the folder"):
        assert read_voices(snapshot, config) == []


@pytest.mark.parametrize(
    "path",
    [
        "../secret.npy",
        "/etc/passwd",
        "speaker_embeddings/../../secret.npy",
        "link.npy",
        "linked/secret.npy",
        3,
        "a\0",
        "..\\secret.npy",
        "speaker_embeddings\\..\\..\\secret.npy",
        "linked\\secret.npy",
    ],
)
def test_paths_that_leave_the_folder(
    path: Any, tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig
) -> None:
    folder = tmp_path / "source"
    paths = write_triple(folder, "announcer", arrays)
    np.save(tmp_path / "secret.npy", arrays["fine_prompt"])
    (folder / "link.npy").symlink_to(tmp_path / "secret.npy")
    (folder / "linked").symlink_to(tmp_path)
    write_index(folder, {"announcer": paths | {"fine_prompt": path}})
    with pytest.warns(VoicesLeftOut, match=r"leaves the folder|not a path|null"):
        assert read_voices(folder, config) == []


@pytest.mark.parametrize(
    "name", ["../evil", "/tmp/evil", "", "a/../b", "a?b", "v2\\..\\..\\evil", ".hidden", "none", 200 * "ü"]
)
def test_names_that_are_no_names(name: str, tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig) -> None:
    paths = write_triple(tmp_path, "announcer", arrays)
    write_index(tmp_path, {name: paths, "announcer": paths})
    with pytest.warns(VoicesLeftOut, match="is not a name for a voice"):
        assert names_of(tmp_path, config) == ["announcer"]


class Command:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def test_damaged_voices_are_left_out_and_named_together(
    huggingface: Path, tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    names = ("objects", "short", "pickled", "huge", "zipped", "half")
    voices = {name: write_triple(huggingface, name, arrays) for name in names}
    np.save(huggingface / voices["objects"]["fine_prompt"], np.array([Command(tmp_path / "marker")]), allow_pickle=True)
    (huggingface / voices["pickled"]["fine_prompt"]).write_bytes(pickle.dumps(Command(tmp_path / "marker")))
    np.save(huggingface / voices["short"]["fine_prompt"], arrays["fine_prompt"][:, :-1])
    with (huggingface / voices["huge"]["fine_prompt"]).open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i8", "fortran_order": False, "shape": (8, 10**12)})
    with (huggingface / voices["zipped"]["fine_prompt"]).open("wb") as file:
        np.savez(file, **arrays)
    (huggingface / voices["half"]["fine_prompt"]).unlink()
    voices["good"] = write_triple(huggingface, "good", arrays)
    write_index(huggingface, voices | {"wrong": {"fine_prompt": 3}})
    with pytest.warns(VoicesLeftOut) as warned:
        convert_checkpoint(huggingface, tmp_path / "out", progress=False)
    message = str(warned[0].message)
    assert all(repr(name) in message for name in (*names, "wrong")), message
    assert not (tmp_path / "marker").exists()
    assert [path.name for path in (tmp_path / "out" / "voices").iterdir()] == ["good.npz"]
