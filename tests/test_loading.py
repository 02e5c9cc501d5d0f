"""Finding a model: the built-in one, folders, and conversions that are kept."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bark_jax import loading
from bark_jax.checkpoint import FORMAT, CheckpointError
from bark_jax.layouts import NANO
from bark_jax.loading import resolve

CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass
class FakeConversion:
    """Stands in for `bark_jax.convert`: marks the output as a checkpoint and counts."""

    calls: list[Path] = field(default_factory=list)
    error: str | None = None
    faster: bool = False  # another process finishes first

    def convert_checkpoint(self, source: Path, out: Path, *, progress: bool) -> None:
        self.calls.append(source)
        if self.error is None or self.faster:
            out.mkdir(parents=True)
            (out / "config.json").write_text(json.dumps({"format": FORMAT}))
        if self.error:
            raise CheckpointError(self.error)


@pytest.fixture
def conversion(monkeypatch: pytest.MonkeyPatch) -> FakeConversion:
    conversion = FakeConversion()
    monkeypatch.setitem(sys.modules, "bark_jax.convert", conversion)
    return conversion


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder in Hugging Face's layout."""
    folder = tmp_path / "bark-small"
    folder.mkdir()
    for name in ("config.json", "pytorch_model.bin"):
        (folder / name).write_text("{}")
    (folder / "dangling").symlink_to("nowhere")
    return folder


def test_a_converted_folder_is_used_as_it_is(tmp_path: Path, conversion: FakeConversion) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"format": FORMAT}))
    assert resolve(tmp_path) == tmp_path
    assert resolve(str(tmp_path)) == tmp_path
    assert not conversion.calls


def test_a_folder_is_converted_once_until_it_changes(source: Path, tmp_path: Path, conversion: FakeConversion) -> None:
    cache = tmp_path / "cache"
    first = resolve(source, cache_dir=cache)
    assert first.parent == cache
    assert "bark-small" in first.name
    assert resolve(f"{source}/", cache_dir=cache) == first
    assert conversion.calls == [source]
    (source / "pytorch_model.bin").write_text("new weights")
    assert resolve(source, cache_dir=cache) != first
    assert len(conversion.calls) == 2


@pytest.mark.parametrize(
    ("file", "is_read"),
    [
        ("bark.wav", False),
        ("logs/conversion.log", False),
        ("text.pt", True),
        ("pytorch_model-00001-of-00002.bin", True),
        ("tokenizer.json", True),
        ("speaker_embeddings_path.json", True),
        ("speaker_embeddings/v2/en_speaker_6_fine_prompt.npy", True),
        ("assets/prompts/v2/en_speaker_6.npz", True),
    ],
)
def test_only_what_a_conversion_reads_counts(
    file: str, is_read: bool, source: Path, tmp_path: Path, conversion: FakeConversion
) -> None:
    first = resolve(source, cache_dir=tmp_path / "cache")
    (source / file).parent.mkdir(parents=True, exist_ok=True)
    (source / file).touch()
    assert (resolve(source, cache_dir=tmp_path / "cache") != first) == is_read


@pytest.mark.parametrize(("name", "is_read"), [("text_2.pt", True), ("vocab.txt", False)])
def test_encodec_in_torchs_cache_counts_for_sunos_files(
    name: str, is_read: bool, source: Path, tmp_path: Path, conversion: FakeConversion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (source / name).touch()
    first = resolve(source, cache_dir=tmp_path / "cache")
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "torch" / "hub" / "checkpoints" / "encodec_24khz-d7cc33bc.th").touch()
    assert (resolve(source, cache_dir=tmp_path / "cache") != first) == is_read


IN_A_CHECKOUT = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in str(finder)]
from bark_jax.loading import CheckpointError, converter
try:
    print(converter().convert_checkpoint.__module__)
except CheckpointError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("foreign", "outcome"), [(False, "convert.conversion"), (True, "bark_jax.convert is not there: install")]
)
def test_the_converter_in_a_checkout(foreign: bool, outcome: str, tmp_path: Path) -> None:
    """There `bark_jax` is imported from the working directory, and `convert` is beside it, or another project's."""
    for name in ("bark_jax", "convert"):
        shutil.copytree(CHECKOUT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "other" / "convert").mkdir(parents=True)
    (tmp_path / "other" / "convert" / "__init__.py").write_text("raise RuntimeError('it was imported')")
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CHECKOUT], cwd=tmp_path / "other" if foreign else tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(outcome)


def test_conversions_go_to_the_users_cache(
    source: Path, tmp_path: Path, conversion: FakeConversion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bark_jax.loading.user_cache_path", lambda name, appauthor: tmp_path / name)
    assert resolve(source).parent == tmp_path / "bark-jax" / "checkpoints"


@pytest.mark.parametrize("name", ["text.pt", "text_2.pt", "model.safetensors", "model-00001-of-00002.safetensors"])
def test_other_layouts_are_recognised(tmp_path: Path, name: str, conversion: FakeConversion) -> None:
    (tmp_path / name).touch()
    resolve(tmp_path, cache_dir=tmp_path / "cache")
    assert conversion.calls == [tmp_path]


def test_losing_a_race_is_fine(source: Path, tmp_path: Path, conversion: FakeConversion) -> None:
    conversion.error, conversion.faster = "exists already", True
    assert resolve(source, cache_dir=tmp_path / "cache").is_dir()


def test_a_failed_conversion_is_reported(source: Path, tmp_path: Path, conversion: FakeConversion) -> None:
    conversion.error = "pytorch_model.bin is truncated"
    with pytest.raises(CheckpointError, match="is truncated"):
        resolve(source, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("name", ["nowhere", "no/where/at/all", "~nobody-of-this-name/bark"])
def test_no_such_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"neither a folder nor a hub repository .* --model nano"):
        resolve(name if name.startswith("~") else tmp_path / name)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match=r"holds no Bark checkpoint: expected config.json with model.safetensors"):
        resolve(tmp_path)


def test_the_built_in_model_is_found_beside_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / NANO).mkdir()
    assert resolve(NANO) == Path(loading.__file__).with_name(NANO)
    with pytest.raises(CheckpointError, match="holds no Bark checkpoint"):
        resolve(f"./{NANO}")
    monkeypatch.setattr(loading, "__file__", str(tmp_path / "loading.py"))
    with pytest.raises(CheckpointError, match="lacks its built-in model"):
        resolve(NANO)
