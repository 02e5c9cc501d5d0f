"""The voices that come with a source."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bark_jax.config import BarkConfig
from bark_jax.convert import ConversionError, convert_checkpoint
from bark_jax.convert.voices import read_voices
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
    absent = {prompt: f"speaker_embeddings/de_speaker_1_{prompt}.npy" for prompt in PROMPTS}
    write_index(huggingface, voices | {"de_speaker_1": absent})  # not downloaded
    convert_checkpoint(huggingface, tmp_path / "out", progress=False)
    written = sorted(path.relative_to(tmp_path / "out" / "voices") for path in (tmp_path / "out").rglob("*.npz"))
    assert written == [Path("announcer.npz"), Path("v2/en_speaker_6.npz")]
    voice = Voice.load(tmp_path / "out" / "voices" / "v2" / "en_speaker_6.npz")
    assert np.array_equal(voice.semantic, arrays["semantic_prompt"])
    assert np.array_equal(voice.fine, arrays["fine_prompt"])


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
    with pytest.raises(ConversionError, match="leaves the folder"):
        read_voices(snapshot, config)


@pytest.mark.parametrize(
    "path",
    ["../secret.npy", "/etc/passwd", "speaker_embeddings/../../secret.npy", "link.npy", "linked/secret.npy", 3, "a\0"],
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
    with pytest.raises(ConversionError, match=r"leaves the folder|not a path|null"):
        read_voices(folder, config)


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "", "a/../b", "a.b", "a\\b", ".hidden"])
def test_names_that_are_no_names(name: str, tmp_path: Path, arrays: dict[str, np.ndarray], config: BarkConfig) -> None:
    write_index(tmp_path, {name: write_triple(tmp_path, "announcer", arrays)})
    with pytest.raises(ConversionError, match="is not a name for a voice"):
        read_voices(tmp_path, config)


class Command:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def test_damaged_voices_are_reported_together(huggingface: Path, tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
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
    write_index(huggingface, voices | {"wrong": {"fine_prompt": 3}})
    with pytest.raises(ConversionError) as refused:
        convert_checkpoint(huggingface, tmp_path / "out", progress=False)
    message = str(refused.value)
    assert all(name in message for name in (*voices, "wrong")), message
    assert not (tmp_path / "marker").exists()
    assert not (tmp_path / "out").exists()
