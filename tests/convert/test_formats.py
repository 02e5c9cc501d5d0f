"""Every way the same weights are stored converts to the same checkpoint."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from bark_jax.checkpoint import CheckpointError, read_config
from bark_jax.config import NETWORKS, BarkConfig
from bark_jax.convert import ConversionError, convert_checkpoint
from bark_jax.convert.source import open_source
from bark_jax.convert.verify import verify

from torch_checkpoints import (
    Save,
    State,
    old_norm_names,
    random_model,
    save_bin,
    save_safetensors,
    save_sharded_bin,
    save_sharded_safetensors,
    write_huggingface,
)

TWIN = re.compile(r"fine_acoustics\.lm_heads\.\d\.weight")
TABLE = re.compile(r"fine_acoustics\.input_embeds_layers\.[1-7]\.weight")


def without(pattern: re.Pattern[str]) -> Callable[[State], State]:
    return lambda state: {name: tensor for name, tensor in state.items() if not pattern.fullmatch(name)}


def reordered(state: State) -> State:
    """Transposed in memory, and behind an offset: strides and offsets count."""
    changed = {}
    for name, tensor in state.items():
        padded = torch.cat(
            [torch.full((3,), torch.nan), tensor.float().permute(*reversed(range(tensor.ndim))).reshape(-1)]
        )
        changed[name] = padded[3:].view(*reversed(tensor.shape)).permute(*reversed(range(tensor.ndim))).to(tensor.dtype)
    return changed


def in_one_storage(state: State) -> State:
    flat = torch.cat([tensor.reshape(-1) for tensor in state.values() if tensor.dtype == torch.float32])
    parts = iter(flat.split([tensor.numel() for tensor in state.values() if tensor.dtype == torch.float32]))
    return {name: next(parts).view(tensor.shape) for name, tensor in state.items() if tensor.dtype == torch.float32}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, state: State, config: BarkConfig) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    source = write_huggingface(folder / "source", state, config, save_bin)
    convert_checkpoint(source, folder / "out", progress=False)
    return folder / "out"


def tensors(folder: Path, network: str) -> dict[str, np.ndarray]:
    with safe_open(folder / f"{network}.safetensors", "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize("save", [save_bin, save_safetensors, save_sharded_bin, save_sharded_safetensors])
@pytest.mark.parametrize(
    "change",
    [
        dict,
        old_norm_names,
        without(TWIN),
        without(TABLE),
        without(re.compile(r".*attn\.bias")),
        lambda state: {f"_orig_mod.{name}": tensor for name, tensor in state.items()},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()} | {"n_averaged": torch.tensor(3)},
        lambda state: dict(sorted(state.items(), reverse=True)),
        lambda state: {name: tensor.double() for name, tensor in state.items()},
    ],
    ids=[
        "transformers 5",
        "old norms",
        "no heads",
        "no tables",
        "no masks",
        "compiled",
        "average",
        "another order",
        "float64",
    ],
)
def test_same_weights_give_the_same_checkpoint(
    save: Save, change: Callable[[State], State], tmp_path: Path, state: State, config: BarkConfig, reference: Path
) -> None:
    source = write_huggingface(tmp_path / "source", change(state), config, save)
    convert_checkpoint(source, tmp_path / "out", progress=False)
    assert_same_files(tmp_path / "out", reference)


def assert_same_files(folder: Path, reference: Path) -> None:
    names = sorted(path.relative_to(reference) for path in reference.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    for name in names:
        assert (folder / name).read_bytes() == (reference / name).read_bytes(), name


@pytest.mark.parametrize("change", [reordered, in_one_storage])
def test_views_of_storages(
    change: Callable[[State], State], tmp_path: Path, state: State, config: BarkConfig, reference: Path
) -> None:
    source = write_huggingface(tmp_path / "source", change(state), config, save_bin)
    convert_checkpoint(source, tmp_path / "out", progress=False)
    assert_same_files(tmp_path / "out", reference)


def test_folded_weight_norm(tmp_path: Path, state: State, config: BarkConfig, reference: Path) -> None:
    folded = {}
    for name, tensor in state.items():
        if name.endswith("original0"):
            direction = state[name.replace("original0", "original1")]
            folded[name.replace("parametrizations.weight.original0", "weight")] = torch._weight_norm(
                direction, tensor, 0
            )
        elif not name.endswith("original1"):
            folded[name] = tensor
    source = write_huggingface(tmp_path / "source", folded, config, save_bin)
    convert_checkpoint(source, tmp_path / "out", progress=False)
    expected = tensors(reference, "codec")
    for name, tensor in tensors(tmp_path / "out", "codec").items():
        np.testing.assert_allclose(tensor, expected[name], rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("save", [save_bin, save_safetensors])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sources(
    save: Save, dtype: torch.dtype, tmp_path: Path, state: State, config: BarkConfig, reference: Path
) -> None:
    source = write_huggingface(tmp_path / "source", {n: t.to(dtype) for n, t in state.items()}, config, save)
    convert_checkpoint(source, tmp_path / "out", progress=False)
    for network in NETWORKS:
        expected = tensors(reference, network)
        for name, tensor in tensors(tmp_path / "out", network).items():
            assert tensor.dtype == np.float32
            error = np.linalg.norm(tensor - expected[name]) / np.linalg.norm(expected[name])
            assert error < 2 * torch.finfo(dtype).eps, name


def test_stored_as_bfloat16(tmp_path: Path, state: State, config: BarkConfig, reference: Path) -> None:
    source = write_huggingface(tmp_path / "source", state, config, save_bin)
    convert_checkpoint(source, tmp_path / "out", dtype="bfloat16", progress=False)
    for network in NETWORKS:
        for name, tensor in tensors(tmp_path / "out", network).items():
            assert tensor.dtype == ("float32" if network == "codec" else "bfloat16")
            assert np.array_equal(tensor, tensors(reference, network)[name].astype(tensor.dtype)), name
    verify(open_source(source), tmp_path / "out", progress=False)


def test_outputs_equal_pytorchs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With biases; without them see test_stored_as_bfloat16 and Suno's files."""
    config = BarkConfig.tiny(bias=True)
    source = write_huggingface(tmp_path / "source", random_model(config).state_dict(), config, save_safetensors)
    convert_checkpoint(source, tmp_path / "out", progress=False)
    verify(open_source(source), tmp_path / "out")
    assert read_config(tmp_path / "out") == config
    printed = capsys.readouterr().err
    errors = [float(number) for number in re.findall(r"\de-\d\d|\d\.\de-\d\d", printed.partition("relative errors")[2])]
    assert len(errors) == 11  # two causal networks, seven codebooks, decoder, encoder
    assert max(errors) < 1e-5


def test_verification_notices_a_difference(huggingface: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    convert_checkpoint(huggingface, tmp_path / "out", progress=False)
    other = torch.load(huggingface / "pytorch_model.bin")
    other["codec_model.encoder.layers.0.conv.bias"] += 1
    torch.save(other, huggingface / "pytorch_model.bin")
    monkeypatch.setattr("bark_jax.convert.verify.NETWORKS", ("codec",))
    with pytest.raises(ConversionError, match="encoder: relative error"):
        verify(open_source(huggingface), tmp_path / "out", progress=False)


def test_verification_of_what_pytorch_cannot_load(huggingface: Path, suno: Path, tmp_path: Path) -> None:
    convert_checkpoint(huggingface, tmp_path / "out", progress=False)
    opened = open_source(huggingface)
    (huggingface / "pytorch_model.bin").write_bytes(b"not a pickle")
    with pytest.raises(ConversionError, match=r"PyTorch cannot load .*source"):
        verify(opened, tmp_path / "out", progress=False)
    files = open_source(suno).suno_files or {}
    with pytest.raises(ConversionError, match=r"PyTorch cannot load .*pytorch_model\.bin"):
        verify(
            replace(opened, suno_files=files | {"semantic": huggingface / "pytorch_model.bin"}),
            tmp_path / "out",
            progress=False,
        )


def test_existing_output(huggingface: Path, tmp_path: Path, reference: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("…")
    with pytest.raises(ConversionError, match="exists already, and is not a converted checkpoint"):
        convert_checkpoint(huggingface, out, overwrite=True, progress=False)
    shutil.rmtree(out)
    shutil.copytree(reference, out)
    with pytest.raises(ConversionError, match="exists already"):
        convert_checkpoint(huggingface, out, progress=False)
    (out / "tokenizer.json").write_text("stale")
    convert_checkpoint(huggingface, out, overwrite=True, progress=False)
    assert_same_files(out, reference)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_a_failed_replacement_keeps_the_old_checkpoint(huggingface: Path, tmp_path: Path, reference: Path) -> None:
    shutil.copytree(reference, tmp_path / "out")
    (huggingface / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="tokenizer"):
        convert_checkpoint(huggingface, tmp_path / "out", overwrite=True, progress=False)
    assert_same_files(tmp_path / "out", reference)


@pytest.mark.parametrize("error", [OSError("busy"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_an_interrupted_replacement_keeps_the_old_checkpoint(
    error: BaseException, huggingface: Path, tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(reference, tmp_path / "out")
    (tmp_path / "out" / "tokenizer.json").write_text("old")
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if ".new-" in self.name:
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises((ConversionError, KeyboardInterrupt)):
        convert_checkpoint(huggingface, tmp_path / "out", overwrite=True, progress=False)
    assert (tmp_path / "out" / "tokenizer.json").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_into_the_working_directory(
    huggingface: Path, tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First an empty one, then one with a checkpoint."""
    (tmp_path / "out").mkdir()
    for overwrite in (False, True):
        monkeypatch.chdir(tmp_path / "out")
        convert_checkpoint(huggingface, Path("."), overwrite=overwrite, progress=False)
        assert_same_files(tmp_path / "out", reference)


@pytest.mark.parametrize("save", [save_bin, save_sharded_bin, save_sharded_safetensors])
def test_hub_cache_layout(save: Save, tmp_path: Path, state: State, config: BarkConfig, reference: Path) -> None:
    """In the hub's cache every file is a link to a blob beside the snapshots."""
    source = write_huggingface(tmp_path / "source", state, config, save)
    blobs, snapshot = tmp_path / "repo" / "blobs", tmp_path / "repo" / "snapshots" / "0123abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for i, file in enumerate(sorted(source.iterdir())):
        (blobs / f"{i}").write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(Path("..", "..", "blobs", f"{i}"))
    convert_checkpoint(snapshot, tmp_path / "out", progress=False)
    assert_same_files(tmp_path / "out", reference)
