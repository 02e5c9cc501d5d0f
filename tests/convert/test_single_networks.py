"""Networks that were fine-tuned by themselves, as training scripts leave them, and put over a whole model."""

import argparse
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_formats import assert_same_files

from bark_jax.checkpoint import CheckpointError, read_config
from bark_jax.config import BarkConfig
from bark_jax.convert import ConversionError, convert_checkpoint
from bark_jax.convert.__main__ import main
from bark_jax.convert.configs import stage_sizes, with_stage
from bark_jax.convert.plan import plan
from bark_jax.convert.source import open_source
from bark_jax.convert.stages import read_stage
from bark_jax.layouts import SEMANTIC_CLUSTERS
from bark_jax.loading import resolve
from bark_jax.text import load_tokenizer

from torch_checkpoints import State, save_bin, save_safetensors, write_huggingface

Content = dict[str, Any]

SIZES = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 1024, "bias": False}


def renamed(pattern: str, replacement: str) -> Callable[[Content], Content]:
    """With other names for the tensors, and nothing but the tensors."""
    return lambda model: {re.sub(pattern, replacement, name): tensor for name, tensor in model.items()}


def cast(dtype: torch.dtype) -> Callable[[Content], Content]:
    return lambda model: {name: tensor.to(dtype) for name, tensor in model.items()}


FORMS: dict[str, Callable[[Content], Content]] = {
    "bare": lambda model: model,
    "model": lambda model: {"model": model},
    "state_dict beside an optimizer": lambda model: {"state_dict": model, "epoch": 3, "optimizer": {"state": {}}},
    "Lightning": lambda model: {"state_dict": renamed("^", "model.")(model), "hyper_parameters": {"lr": 1e-4}},
    "wrapped twice": lambda model: {"module": {"model": model}},
    "namespace": lambda model: {"model": model, "model_args": argparse.Namespace(**SIZES, out=Path("runs"))},
    "numpy's random state": lambda model: {"model": model, "rng": np.random.RandomState(0).get_state()},
    "device": lambda model: {"model": model, "device": torch.device("cpu"), "dtype": torch.float16},
    "half": cast(torch.float16),
    "bfloat16": cast(torch.bfloat16),
    "DataParallel": renamed("^", "module."),
    "compiled and parallel": renamed("^", "module._orig_mod."),
    "parallel and compiled": renamed("^", "_orig_mod.module."),
    "compiled blocks": renamed(r"h\.(\d)\.", r"h.\1._orig_mod."),
    "parallel parts": renamed(r"transformer\.", "transformer.module."),
    "FSDP": renamed(r"h\.(\d)\.", r"_fsdp_wrapped_module.h.\1._checkpoint_wrapped_module."),
    "PEFT, merged": renamed("^", "base_model.model."),
    "a module around it": renamed("^", "gpt."),
    "weights": lambda model: {"weights": model, "epoch": 3},
    "an average": lambda model: {"ema": model},
    "weights rather than their average": lambda model: {"ema": cast(torch.float16)(model), "model": model},
    "torch's AveragedModel": lambda model: renamed("^", "module.")(model) | {"n_averaged": torch.tensor(3)},
    "a shadow": lambda model: {"ema": {"shadow": model, "num_updates": 5, "decay": 0.999}},
    "shadow_params": lambda model: {"shadow_params": model, "decay": 0.999},
    "a counter": lambda model: model | {"step": torch.tensor(100)},
    "counters beside a module": lambda model: (
        renamed("^", "gpt.")(model) | {"global_step": torch.tensor(1), "epoch": 5}
    ),
    "head in a list": renamed(r"^lm_head\.", "lm_head.0."),
}


@pytest.fixture(scope="module")
def models(suno: Path) -> dict[str, Content]:
    """The tensors of each network, by Suno's names."""
    files = {"semantic": "text_2.pt", "coarse": "coarse_2.pt", "fine": "fine_2.pt"}
    contents = {network: torch.load(suno / file, weights_only=False)["model"] for network, file in files.items()}
    return {
        network: {name.removeprefix("_orig_mod."): tensor for name, tensor in model.items()}
        for network, model in contents.items()
    }


@pytest.fixture(scope="module")
def base(suno: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("base") / "out"
    convert_checkpoint(suno, out, progress=False)
    return out


@pytest.mark.parametrize("network", ["semantic", "coarse", "fine"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(
    form: str, network: str, models: dict[str, Content], suno_config: BarkConfig, tmp_path: Path
) -> None:
    """Sizes come from the tensors where nothing says them; only the heads are those of the model beneath."""
    path = tmp_path / "mine.pt"
    torch.save(FORMS[form](models[network]), path)
    stage = read_stage(path, network, stage_sizes(suno_config, network))
    assert stage.network == network
    assert with_stage(suno_config, network, stage.sizes, "it") == suno_config
    planned = plan(network, suno_config, stage.tensors)
    assert planned.problems == []
    counters = {"torch's AveragedModel": 1, "a counter": 1, "counters beside a module": 2}
    assert planned.left_out["counters of training"] == counters.get(form, 0)


@pytest.mark.parametrize("converted", [True, False], ids=["converted base", "Suno's base"])
def test_over_a_model(
    converted: bool,
    base: Path,
    suno: Path,
    models: dict[str, Content],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The network is the new one, of its own size; all else is the model's."""
    model = models["coarse"]
    shorter = {name: tensor + 1 for name, tensor in model.items() if ".h.1." not in name}
    torch.save(shorter, tmp_path / "mine.pt")
    source = base if converted else suno
    assert main([str(source), str(tmp_path / "out"), "--coarse", str(tmp_path / "mine.pt")]) == 0
    assert f"coarse from {tmp_path / 'mine.pt'}" in capsys.readouterr().err
    assert read_config(tmp_path / "out").coarse.gpt.layers == 1
    (tmp_path / "out" / "coarse.safetensors").unlink()
    for name in ("semantic.safetensors", "fine.safetensors", "codec.safetensors", "tokenizer.json"):
        assert (tmp_path / "out" / name).read_bytes() == (base / name).read_bytes()


def test_its_own_network_over_a_model(base: Path, models: dict[str, Content], tmp_path: Path) -> None:
    """Also the clusters of a model that was trained here."""
    torch.save(models["fine"], tmp_path / "fine.pt")
    shutil.copytree(base, tmp_path / "base")
    (tmp_path / "base" / SEMANTIC_CLUSTERS).touch()
    convert_checkpoint(tmp_path / "base", tmp_path / "out", stages={"fine": tmp_path / "fine.pt"}, progress=False)
    assert_same_files(tmp_path / "out", tmp_path / "base")


def stage_folder(folder: Path, model: Content, config: dict[str, Any] | None, save: Any = save_bin) -> Path:
    folder.mkdir()
    save(model, folder)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("save", [save_bin, save_safetensors])
@pytest.mark.parametrize("config", [SIZES, {"num_heads": 2, "model_type": "semantic"}, None])
def test_a_folder_of_one_network(
    config: dict[str, Any] | None, save: Any, models: dict[str, Content], suno_config: BarkConfig, tmp_path: Path
) -> None:
    """It is read over a model; by itself it is recognised, and the error says the command."""
    folder = stage_folder(tmp_path / "tuned", models["semantic"], config, save)
    assert read_stage(folder, "semantic", stage_sizes(suno_config, "semantic")).sizes["num_heads"] == 2
    if config is not None:
        with pytest.raises(CheckpointError, match=rf"convert suno/bark-small OUT --semantic {folder}"):
            resolve(folder, cache_dir=tmp_path / "cache", progress=False)


def test_a_network_of_a_whole_model(state: State, config: BarkConfig, tmp_path: Path) -> None:
    source = write_huggingface(tmp_path / "source", state, config, save_bin)
    stage = read_stage(source, "coarse", stage_sizes(config, "coarse"))
    assert with_stage(config, "coarse", stage.sizes, "it") == config


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("text_2.pt", r"if text_2\.pt is all there is, .*--semantic \S+/text_2\.pt"),
        ("coarse.pt", r"--coarse \S+/coarse\.pt"),
        ("checkpoint.pt", r"if checkpoint\.pt is one network by itself.*--semantic checkpoint\.pt"),
        ("ggml_weights.bin", r"ggml_weights\.bin is in ggml's format, of bark\.cpp: convert the files"),
        ("adapter_config.json", r"LoRA adapter: merge it"),
    ],
)
def test_folders_that_are_no_model(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(CheckpointError, match=reason):
        resolve(tmp_path, cache_dir=tmp_path / "cache")
    with pytest.raises(CheckpointError, match=reason):
        open_source(tmp_path)


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.pt").touch()
    with pytest.raises(CheckpointError, match=r"mine\.pt is a file, not a folder: .*OUT --semantic mine\.pt"):
        resolve(tmp_path / "mine.pt")


def test_a_ggml_file_under_another_name(tmp_path: Path, suno_config: BarkConfig) -> None:
    (tmp_path / "text.pt").write_bytes(b"lmgg" + bytes(100))
    with pytest.raises(ConversionError, match=r"text\.pt: it is a ggml file, of bark\.cpp"):
        read_stage(tmp_path / "text.pt", "semantic", stage_sizes(suno_config, "semantic"))


@pytest.mark.parametrize("broken", ["left over", "not finite"])
def test_messages_name_the_file_put_over_the_model(
    broken: str, base: Path, models: dict[str, Content], tmp_path: Path
) -> None:
    model = models["fine"] | ({"more": torch.ones(2)} if broken == "left over" else {})
    if broken == "not finite":
        model["transformer.wpe.weight"] = torch.full_like(model["transformer.wpe.weight"], torch.nan)
    torch.save(model, tmp_path / "fine.pt")
    with pytest.raises(ConversionError, match=rf"^{tmp_path}/fine\.pt (does not fit its|has weights that cannot)"):
        convert_checkpoint(base, tmp_path / "out", stages={"fine": tmp_path / "fine.pt"}, progress=False)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (["adapter_config.json", "adapter_model.bin"], r"{}: it is a LoRA adapter: merge it .*merge_and_unload"),
        (["adapter_config.json", "adapter_model.safetensors"], r"{}: it is a LoRA adapter"),
        (
            ["checkpoint-100/a", "checkpoint-50/a", "training_args.bin"],
            r"{} holds no file of weights, but the folders checkpoint-50, checkpoint-100: name one, "
            r"--semantic {}/checkpoint-100",
        ),
        (["a.pt", "b.safetensors"], r"{} holds several files of weights, .*: name one, --semantic {}/a\.pt"),
        (["notes.txt"], r"{} holds no file of weights: name the file or its folder, --semantic FILE"),
    ],
)
def test_folders_that_hold_no_network(files: list[str], reason: str, tmp_path: Path) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("{}")
    with pytest.raises(ConversionError, match="^" + reason.replace("{}", str(tmp_path))):
        read_stage(tmp_path, "semantic", {})


@pytest.mark.parametrize(
    "names",
    [
        ("lora_A.default.weight", "lora_B.default.weight"), ("lora_down", "lora_up"), ("loraA", "loraB"),
        ("lora.A", "lora.B"), ("LoRA_A.weight", "LoRA_B.weight"), ("base_layer.weight", "lora_A"),
    ],
)  # fmt: skip
def test_lora_has_to_be_merged_first(
    names: tuple[str, str], models: dict[str, Content], suno_config: BarkConfig, tmp_path: Path
) -> None:
    model = models["semantic"] | {f"transformer.h.0.attn.c_attn.{name}": torch.ones(2, 2) for name in names}
    torch.save(model, tmp_path / "mine.pt")
    first, second = (re.sub(r"\.(default|weight).*", "", name) for name in names)
    with pytest.raises(ConversionError, match=rf"2 tensors of LoRA .*{first}, {second}.*merge them .*merge_and_unload"):
        read_stage(tmp_path / "mine.pt", "semantic", stage_sizes(suno_config, "semantic"))


@pytest.mark.parametrize(
    ("asked", "given", "reason"),
    [
        ("semantic", "coarse", "is a coarse network: give it as --coarse"),
        ("coarse", "fine", "is a fine network: give it as --fine"),
    ],
)
def test_another_network_than_asked_for(
    asked: str, given: str, reason: str, models: dict[str, Content], suno_config: BarkConfig, tmp_path: Path
) -> None:
    torch.save(models[given], tmp_path / "mine.pt")
    with pytest.raises(ConversionError, match=reason):
        read_stage(tmp_path / "mine.pt", asked, stage_sizes(suno_config, asked))


def test_heads_that_nothing_says(models: dict[str, Content], tmp_path: Path, suno: Path) -> None:
    """Both published sizes have 64 channels a head; another width has to be said."""
    torch.save(models["semantic"], tmp_path / "mine.pt")
    with pytest.raises(
        ConversionError, match=r'says nowhere how many heads it has: put a config\.json with "num_heads"'
    ):
        read_stage(tmp_path / "mine.pt", "semantic", {"input_vocab_size": 1, "output_vocab_size": 1})
    wider = {name: torch.zeros([*t.shape[:-1], 128]) for name, t in models["semantic"].items() if t.ndim > 1}
    torch.save(wider, tmp_path / "mine.pt")
    assert read_stage(tmp_path / "mine.pt", "semantic", {"input_vocab_size": 0}).sizes["num_heads"] == 2


@pytest.mark.parametrize("file", ["vocab.txt", "tokenizer.json"])
def test_sunos_cache_takes_the_published_tokenizer_from_the_hubs(
    file: str, suno: Path, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in suno.iterdir():
        if path.name != "tokenizer.json":
            (tmp_path / path.name).symlink_to(path)
    published, other = shared_data / "bark-small" / file, suno / "tokenizer.json"
    cache = {"bert-base-multilingual-cased": other, "suno/bark-small": published}
    look_up = lambda repository, name: cache.get(repository) if name == file else None  # noqa: E731
    monkeypatch.setattr("bark_jax.convert.tokenizer.cached_file", look_up)
    assert open_source(tmp_path).tokenizer_json == load_tokenizer(published).to_str()
    del cache["suno/bark-small"]
    with pytest.raises(
        ConversionError, match=rf"put its vocab\.txt.* into {tmp_path}, or run .*OUT --tokenizer google"
    ):
        open_source(tmp_path)
