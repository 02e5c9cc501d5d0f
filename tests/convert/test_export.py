"""A model in Hugging Face's and Suno's layouts: PyTorch loads it, and it converts back bit for bit."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
import torch
from transformers import BarkModel

from bark_jax import Bark, saving
from bark_jax.checkpoint import CheckpointError, read_config
from bark_jax.config import NETWORKS, BarkConfig
from bark_jax.convert import ConversionError, convert_checkpoint
from bark_jax.convert.combine import conv_kernel, split, subpixel_kernel
from bark_jax.convert.source import open_source
from bark_jax.convert.verify import verify
from bark_jax.models.parameters import parameters

from torch_checkpoints import State


@pytest.fixture(scope="module")
def folder(suno: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A converted checkpoint that each layout has words for, with a voice."""
    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    convert_checkpoint(suno, folder, progress=False)
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 1024, (8, 30)).astype(np.int32)
    (folder / "voices" / "v2").mkdir(parents=True)
    np.savez(
        folder / "voices" / "v2" / "en_speaker_6.npz",
        semantic_prompt=rng.integers(0, 10_000, 20).astype(np.int32), coarse_prompt=codes[:2], fine_prompt=codes,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def bark(folder: Path) -> Bark:
    return Bark.from_pretrained(folder, dtype="float32")


@pytest.mark.parametrize("layout", saving.LAYOUTS)
def test_there_and_back(layout: str, bark: Bark, folder: Path, tmp_path: Path) -> None:
    out = bark.save_pretrained(tmp_path / "out", layout)
    if layout != "bark_jax":
        convert_checkpoint(out, tmp_path / "back", progress=False)
        verify(open_source(out), tmp_path / "back", progress=False)  # PyTorch's own networks have the same outputs
        out = tmp_path / "back"
    for name in (*(f"{network}.safetensors" for network in NETWORKS), "config.json"):
        assert (out / name).read_bytes() == (folder / name).read_bytes(), name
    assert json.loads((out / "tokenizer.json").read_text()) == json.loads((folder / "tokenizer.json").read_text())
    voice, expected = (np.load(model / "voices" / "v2" / "en_speaker_6.npz") for model in (out, folder))
    for prompt in ("semantic_prompt", "coarse_prompt", "fine_prompt"):
        np.testing.assert_array_equal(voice[prompt], expected[prompt])
    with pytest.raises(CheckpointError, match="exists already"):
        bark.save_pretrained(out, layout)


def test_transformers_misses_nothing(bark: Bark, tmp_path: Path, suno_state: State) -> None:
    """Every tensor that it saves is there, but for the heads, which it ties itself."""
    bark.save_pretrained(tmp_path / "out", "huggingface")
    model, info = BarkModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    heads = {name for name in suno_state if "fine_acoustics.lm_heads" in name}
    for name in suno_state.keys() - heads:
        if "codec_model" not in name:
            assert torch.equal(model.state_dict()[name], suno_state[name]), name


@pytest.mark.filterwarnings("ignore:this layout has no default voice:UserWarning")
@pytest.mark.parametrize("preset", ["nano", "random:tiny"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_models_in_hugging_faces_layout(preset: str, dtype: str, tmp_path: Path) -> None:
    """Their ids, rates and voices are in its two configuration files; bfloat16 stays that."""
    bark = Bark.from_pretrained(preset, param_dtype=dtype, dtype="float32")
    bark.save_pretrained(tmp_path / "out", "huggingface")
    convert_checkpoint(tmp_path / "out", tmp_path / "back", dtype=dtype, progress=False)
    again = Bark.from_pretrained(tmp_path / "back", param_dtype=dtype, dtype="float32")
    assert again.config == bark.config
    assert again.voices() == bark.voices()
    for network in NETWORKS:
        ours, theirs = (parameters(model.engine.networks[network]) for model in (bark, again))
        assert ours.keys() == theirs.keys()
        for path, value in ours.items():
            assert np.array_equal(np.asarray(value), np.asarray(theirs[path])), path


def test_what_sunos_layout_cannot_say(tmp_path: Path) -> None:
    bark = Bark.from_config(BarkConfig.tiny(), jax.random.key(0))
    with pytest.raises(ConversionError, match="Suno's layout has no place for other token ids"):
        bark.save_pretrained(tmp_path / "out", "suno")
    assert not (tmp_path / "out").exists()
    with pytest.raises(CheckpointError, match="no layout 'onnx': choose from bark_jax, huggingface, suno"):
        bark.save_pretrained(tmp_path / "out", "onnx")


@pytest.mark.parametrize(("top_k", "temperature"), [(20, 0.0), (None, 0.4)])
def test_default_settings_come_along(top_k: int | None, temperature: float, tmp_path: Path) -> None:
    config = BarkConfig.tiny()
    semantic = dataclasses.replace(config.semantic, top_k=top_k, temperature=temperature)
    config = dataclasses.replace(config, semantic=semantic)
    bark = Bark.from_config(config, jax.random.key(0))
    bark.save_pretrained(tmp_path / "out", "huggingface")
    convert_checkpoint(tmp_path / "out", tmp_path / "back", progress=False)
    assert read_config(tmp_path / "back") == config


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("combine", "shape", "ratio"), [(conv_kernel, (7, 64, 48), 1), (subpixel_kernel, (2, 64, 80), 5)]
)
def test_weight_norm_is_exact(combine: Callable[..., Any], shape: tuple[int, ...], ratio: int, seed: int) -> None:
    """Also for a row of zeros, for tiny and huge values."""
    rng = np.random.default_rng(seed)
    kernel = (rng.standard_normal(shape) * 10.0 ** rng.uniform(-6, 3, (1, 1, shape[2]))).astype(np.float32)
    kernel[:, 3, :4] = 0
    kernel[:, :, 5] = 0
    parts = split(combine, kernel, ratio)
    np.testing.assert_array_equal(combine(parts), kernel)


def test_pushing(bark: Bark, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is uploaded is a whole checkpoint with a card; the repository is made first."""
    calls: list[Any] = []

    class Api:
        def __init__(self, token: str | None) -> None:
            calls.append(token)

        def create_repo(self, repo_id: str, *, private: bool | None, exist_ok: bool) -> None:
            calls.append((repo_id, private, exist_ok))

        def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> Any:
            calls.append((repo_id, commit_message))
            assert read_config(folder_path) == bark.config
            card = (folder_path / "README.md").read_text()
            assert card.startswith("---\nlibrary_name: bark_jax\n")
            assert 'Bark.from_pretrained("me/mine")' in card
            assert "`v2/en_speaker_6`" in card
            (folder_path / "README.md").unlink()
            for name in (f"{network}.safetensors" for network in NETWORKS):
                assert (folder_path / name).read_bytes() == (folder / name).read_bytes()
            return SimpleNamespace(commit_url="https://hub/commit/1")

    monkeypatch.setattr(saving, "HfApi", Api)
    assert bark.push_to_hub("me/mine", private=True, token="hf_x", commit_message="first") == "https://hub/commit/1"
    assert calls == ["hf_x", ("me/mine", True, True), ("me/mine", "first")]
