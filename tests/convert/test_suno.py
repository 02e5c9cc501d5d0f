"""Suno's own files."""

import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from test_formats import assert_same_files

from bark_jax.checkpoint import read_config
from bark_jax.config import BarkConfig
from bark_jax.convert import ConversionError, convert_checkpoint
from bark_jax.convert.source import open_source
from bark_jax.convert.verify import verify

from torch_checkpoints import State, save_bin, write_huggingface, write_suno


@pytest.fixture(scope="module")
def converted(suno: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "out"
    convert_checkpoint(suno, out, progress=False)
    return out


@pytest.fixture
def copy(suno: Path, tmp_path: Path) -> Path:
    """A folder to break."""
    return shutil.copytree(suno, tmp_path / "suno")


def test_the_same_as_from_huggingface(
    converted: Path, suno_state: State, suno_config: BarkConfig, tmp_path: Path
) -> None:
    source = write_huggingface(tmp_path / "source", suno_state, suno_config, save_bin)
    convert_checkpoint(source, tmp_path / "out", progress=False)
    assert read_config(converted) == suno_config
    assert_same_files(tmp_path / "out", converted)


def test_outputs_equal_pytorchs(suno: Path, converted: Path) -> None:
    verify(open_source(suno), converted, progress=False)


def test_adams_state_is_never_looked_at(copy: Path, converted: Path, tmp_path: Path) -> None:
    """Overwriting every byte of it, zip headers included, changes nothing."""
    path = copy / "text_2.pt"
    with zipfile.ZipFile(path) as archive:
        members = {m.filename.rpartition("/data/")[2]: m for m in archive.infolist() if "/data/" in m.filename}
    used = {t.untyped_storage().data_ptr(): t for t in torch.load(path, weights_only=False)["model"].values()}
    first_of_adam = len(used)  # torch numbers storages in the order of the pickle, and the model comes first
    content = bytearray(path.read_bytes())
    wiped = [m for key, m in members.items() if int(key) >= first_of_adam]
    assert sum(m.file_size for m in wiped) > 0.6 * len(content)
    for member in wiped:
        content[member.header_offset : member.header_offset + 30 + len(member.filename) + member.file_size] = bytes(
            30 + len(member.filename) + member.file_size
        )
    path.write_bytes(content)
    convert_checkpoint(copy, tmp_path / "out", progress=False)
    assert_same_files(tmp_path / "out", converted)


def test_large_is_preferred(copy: Path, suno_state: State, suno_config: BarkConfig) -> None:
    write_suno(copy, suno_state, suno_config, "")
    assert "large" in open_source(copy).description
    assert "small" in open_source(copy, size="small").description
    (copy / "fine_2.pt").unlink()
    assert "small" in open_source(copy).description
    with pytest.raises(ConversionError, match=r"large model lacks fine_2\.pt"):
        open_source(copy, size="large")


def test_huggingface_is_preferred(huggingface: Path, copy: Path) -> None:
    for file in huggingface.iterdir():
        shutil.copy(file, copy)
    assert "pytorch_model.bin" in open_source(copy).description
    assert "Suno's large" in open_source(copy, size="large").description


def test_encodec_in_torchs_cache(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = next(copy.glob("encodec*"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    shutil.move(file, cache)
    assert open_source(copy).networks["codec"]
    os.remove(cache / file.name)
    with pytest.raises(ConversionError, match=re.escape(str(cache))):
        open_source(copy)


def test_tokenizer_from_elsewhere(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.move(copy / "tokenizer.json", tmp_path / "mine.json")
    monkeypatch.setattr("bark_jax.convert.tokenizer.cached_file", lambda repository, name: None)
    with pytest.raises(ConversionError, match="google-bert/bert-base-multilingual-cased"):
        open_source(copy)
    assert open_source(copy, tokenizer=tmp_path / "mine.json").tokenizer_json


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"n_layer": 2**30}, "num_layers is 1073741824, which is absurd"),
        ({"n_embd": 10**7}, "hidden_size is 10000000, which is absurd"),
        ({"n_head": 0}, "num_heads is 0"),
        ({"n_head": 3}, "width of 16 for 3 heads"),
        ({"n_layer": 3}, "blocks.2.mlp_in.weight: no source tensor"),
        ({"n_layer": 1}, "transformer.h.1.ln_1.weight' has no place"),
        ({"bias": True}, "blocks.0.attention_norm.bias: no source tensor"),
        ({"output_vocab_size": 5000}, "exceed semantic.gpt.output_vocab"),
    ],
)
def test_arguments_that_do_not_fit(changes: dict[str, int], reason: str, copy: Path, tmp_path: Path) -> None:
    content = torch.load(copy / "text_2.pt", weights_only=False)
    content["model_args"] |= changes
    torch.save(content, copy / "text_2.pt")
    with pytest.raises(ConversionError, match=reason):
        convert_checkpoint(copy, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layers", [None, [[1], [2]]])
def test_sizes_that_are_not_said_are_those_of_the_tensors(layers: object, copy: Path, suno_config: BarkConfig) -> None:
    content = torch.load(copy / "text_2.pt", weights_only=False)
    content["model_args"] |= {"n_layer": layers}
    torch.save(content, copy / "text_2.pt")
    assert open_source(copy).config == suno_config


def test_a_file_without_model(copy: Path) -> None:
    torch.save({"weights": np.float64(0)}, copy / "coarse_2.pt")
    with pytest.raises(ConversionError, match=r"coarse_2\.pt holds other things than tensors"):
        open_source(copy)
