"""Sources that must not convert: what is wrong is named, all of it at once, and nothing is left behind."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bark_jax.checkpoint import CheckpointError
from bark_jax.convert import convert_checkpoint

Refusal = Callable[[Path], str]


@pytest.fixture
def refusal(tmp_path: Path) -> Refusal:
    """The message of the error that converting a folder raises."""

    def convert(source: Path) -> str:
        before = sorted(tmp_path.iterdir())
        with pytest.raises(CheckpointError) as refused:
            convert_checkpoint(source, tmp_path / "out", progress=False)
        assert sorted(tmp_path.iterdir()) == before
        return str(refused.value)

    return convert


def change(folder: Path, **tensors: torch.Tensor | None) -> None:
    """Replace tensors of pytorch_model.bin, None removes; in keywords `__` stands for a dot."""
    state = torch.load(folder / "pytorch_model.bin")
    for name, tensor in tensors.items():
        name = name.replace("__", ".")
        if tensor is None:
            del state[name]
        else:
            state[name] = tensor
    torch.save(state, folder / "pytorch_model.bin")


def rewrite(path: Path, changes: dict[str, Any], section: str | None = None) -> None:
    values = json.loads(path.read_text())
    (values[section] if section else values).update(changes)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("tensors", "reasons"),
    [
        ({"semantic__lm_head__weight": None}, ["semantic head.weight: no source tensor"]),
        ({"semantic__lm_head__bias": torch.zeros(3)}, ["semantic.lm_head.bias' is not part of the semantic network"]),
        ({"vocoder__weight": torch.zeros(3)}, ["vocoder.weight' belongs to no network"]),
        ({"coarse_acoustics__lm_head__weight": torch.zeros(336, 31)},
         [r"head.weight must be \(336, 32\), not \(336, 31\), from pytorch_model.bin: 'coarse_acoustics.lm_head"]),
        ({"semantic__layernorm_final__weight": torch.full((32,), torch.nan)}, ["norm.scale has values .* not finite"]),
        ({"semantic__layernorm_final__weight": torch.full((32,), 1e300, dtype=torch.float64)}, ["not finite"]),
        ({"semantic__layernorm_final__weight": torch.ones(32, dtype=torch.int64)}, ["has dtype int64, not one of"]),
        ({"fine_acoustics__lm_heads__2__weight": torch.zeros(72, 32)},
         ["lm_heads.2.weight' is untied: it must equal .*input_embeds_layers.3.weight"]),
        ({"fine_acoustics__input_embeds_layers__0__weight": None}, ["code_embeddings: part '0' is missing"]),
        ({"fine_acoustics__input_embeds_layers__0__weight": torch.ones(71, 32)}, ["code_embeddings, .*same shape"]),
        ({"codec_model__encoder__layers__0__conv__parametrizations__weight__original0": None},
         ["encoder.conv_in.kernel: part 'g' is missing"]),
        ({"codec_model__encoder__layers__0__conv__parametrizations__weight__original0": torch.ones(1, 1, 1)},
         ["weight normalisation do not fit"]),
        ({"codec_model__encoder__layers__0__conv__parametrizations__weight__original1": torch.zeros(4, 1, 7)},
         ["encoder.conv_in.kernel has values that are not finite"]),
        ({"codec_model__encoder__layers__0__conv__weight": torch.ones(4, 1, 7)}, ["a plain weight besides g and v"]),
        ({"codec_model__encoder__layers__0__conv__weight_g": torch.ones(4, 1, 1)}, ["are the same tensor twice"]),
        ({"codec_model__decoder__layers__1__lstm__bias_hh_l0": torch.ones(1)}, ["the two biases differ in shape"]),
        ({"codec_model__quantizer__layers__7__codebook__embed": None}, [r"quantizer.codebooks must be \(8, 64, 16\)"]),
        # All at once, each stage of the checks by itself:
        ({"semantic__lm_head__weight": None, "codec_model__x": torch.ones(1), "a__b": torch.ones(1)},
         ["head.weight: no source", "codec_model.x' is not part", "a.b' belongs to no network"]),
        ({"semantic__layernorm_final__weight": torch.full((32,), torch.inf), "fine_acoustics__layernorm_final__bias":
          torch.full((32,), torch.nan), "coarse_acoustics__lm_head__weight": torch.zeros(1, 1)},
         ["norm.scale has values", "norm.bias has values", "head.weight must be"]),
    ],
)  # fmt: skip
def test_tensors(
    tensors: dict[str, torch.Tensor | None], reasons: list[str], huggingface: Path, refusal: Refusal
) -> None:
    change(huggingface, **tensors)
    message = refusal(huggingface)
    for reason in reasons:
        assert re.search(reason, message), message


def test_long_lists_are_cut(huggingface: Path, refusal: Refusal) -> None:
    change(huggingface, **{f"stranger__{i}": torch.ones(1) for i in range(50)})
    lines = refusal(huggingface).splitlines()
    assert len(lines) == 1 + 20 + 1
    assert lines[-1].strip() == "… and 30 more"


def test_things_that_are_not_tensors(huggingface: Path, refusal: Refusal) -> None:
    torch.save({"semantic.epoch": 3}, huggingface / "pytorch_model.bin")
    assert "holds other things than tensors:\n  'semantic.epoch'" in refusal(huggingface)
    torch.save([torch.ones(1)], huggingface / "pytorch_model.bin")
    assert "holds no dict of tensors" in refusal(huggingface)


@pytest.mark.parametrize(
    ("section", "changes", "reasons"),
    [
        (None, {"model_type": "musicgen"}, ["model_type is 'musicgen', supported is 'bark'"]),
        (None, {"quantization_config": {"load_in_8bit": True}}, ["quantization_config is"]),
        ("semantic_config", {"hidden_act": "relu", "layer_norm_eps": 1e-6},
         ["hidden_act is 'relu'", "layer_norm_eps is 1e-06"]),
        ("fine_acoustics_config", {"n_codes_given": 2}, ["n_codes_given is 2, supported is 1"]),
        ("fine_acoustics_config", {"output_vocab_size": 73}, ["output_vocab_size differs"]),
        ("fine_acoustics_config", {"bias": None}, ["fine_acoustics_config lacks bias"]),
        ("codec_config", {"use_causal_conv": False, "norm_type": "time_group_norm", "pad_mode": "constant",
                          "trim_right_ratio": 0.5, "num_residual_layers": 2, "normalize": True, "chunk_length_s": 1.0,
                          "use_conv_shortcut": False, "codebook_dim": 8, "audio_channels": 2},
         ["use_causal_conv is False", "norm_type is 'time_group_norm'", "pad_mode", "trim_right_ratio",
          "num_residual_layers", "normalize", "chunk_length_s", "use_conv_shortcut", "codebook_dim", "audio_channels"]),
        ("codec_config", {"model_type": "dac"}, ["codec_config.model_type is 'dac'"]),
        ("codec_config", {"upsampling_ratios": [8, 0]}, ["upsampling_ratios is .*absurd"]),
        ("codec_config", {"upsampling_ratios": [2] * 99}, ["upsampling_ratios is .*absurd"]),
        ("codec_config", {"compress": 0}, ["compress is 0, which is absurd"]),
        ("coarse_acoustics_config", {"num_layers": 2**40, "hidden_size": 2**40},
         ["num_layers is 1099", "hidden_size is 1099"]),
        ("coarse_acoustics_config", {"num_layers": 256, "hidden_size": 2**20}, ["blocks.2.mlp_in.weight: no source"]),
        ("coarse_acoustics_config", {"num_layers": "two"}, ["config.coarse.gpt.layers must be int, not 'two'"]),
    ],
)  # fmt: skip
def test_configurations(
    section: str | None, changes: dict[str, Any], reasons: list[str], huggingface: Path, refusal: Refusal
) -> None:
    rewrite(huggingface / "config.json", changes, section)
    message = refusal(huggingface)
    for reason in reasons:
        assert re.search(reason, message), message


@pytest.mark.parametrize(
    ("section", "changes", "reason"),
    [
        (None, {"sample_rate": 16_000}, "its sample_rate is 16000, the model needs 24000"),
        ("coarse_acoustics_config", {"coarse_rate_hz": 50}, "coarse_rate_hz is 50, the model needs 75"),
        ("semantic_config", {"eos_token_id": 3}, "eos_token_id is 3, the model needs 200"),
        ("fine_acoustics_config", {"n_fine_codebooks": 4}, "n_fine_codebooks is 4, the model needs 8"),
        ("semantic_config", {"temperature": -1.0}, "config.semantic.temperature must be"),
        ("semantic_config", {"text_pad_token": 2000}, "token ids exceed"),
        ("semantic_config", {"max_new_tokens": 0}, "semantic.max_new"),
        ("semantic_config", {"min_eos_p": 2.0}, "min_eos_p"),
        ("coarse_acoustics_config", {"sliding_window_len": 0}, "coarse.window"),
    ],
)
def test_generation_settings(
    section: str | None, changes: dict[str, Any], reason: str, huggingface: Path, refusal: Refusal
) -> None:
    rewrite(huggingface / "generation_config.json", changes, section)
    message = refusal(huggingface)
    assert reason in message
    assert "generation_config.json" in message


@pytest.mark.parametrize("save", [torch.save, save_file])
def test_compiled_and_plain_names_together(save: Callable[..., None], huggingface: Path, refusal: Refusal) -> None:
    name = "pytorch_model.bin" if save is torch.save else "model.safetensors"
    state = torch.load(huggingface / "pytorch_model.bin")
    head = state["semantic.lm_head.weight"]
    tensors = {"semantic.lm_head.weight": head, "_orig_mod.semantic.lm_head.weight": head + 1}
    save(tensors, huggingface / name)
    assert f"{name} holds tensors twice" in refusal(huggingface)
    files = {key: f"{i}{Path(name).suffix}" for i, key in enumerate(tensors)}
    for key, file in files.items():
        save({key: tensors[key]}, huggingface / file)
    (huggingface / name).unlink()
    (huggingface / "pytorch_model.bin").unlink(missing_ok=True)
    (huggingface / f"{name}.index.json").write_text(json.dumps({"weight_map": files}))
    assert f"{name}.index.json holds tensors twice" in refusal(huggingface)


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"a": ' * 10**5], ids=["empty", "list", "open", "deep"])
def test_config_that_is_no_json_object(content: str, huggingface: Path, refusal: Refusal) -> None:
    (huggingface / "config.json").write_text(content)
    assert str(huggingface / "config.json") in refusal(huggingface)


def test_folders_without_a_checkpoint(tmp_path: Path, huggingface: Path, refusal: Refusal) -> None:
    assert "is not a folder" in refusal(tmp_path / "absent")
    (huggingface / "pytorch_model.bin").rename(huggingface / "model.bin")
    assert "none of model.safetensors, " in refusal(huggingface)
    convert_checkpoint_to = tmp_path / "converted"
    (huggingface / "model.bin").rename(huggingface / "pytorch_model.bin")
    convert_checkpoint(huggingface, convert_checkpoint_to, progress=False)
    assert "is a converted checkpoint already" in refusal(convert_checkpoint_to)


@pytest.mark.parametrize(
    ("weight_map", "reason"),
    [
        ({"a": "../secret.bin"}, "leaves the folder"),
        ({"a": "/etc/passwd"}, "leaves the folder"),
        ({"a": "link.bin"}, "leaves the folder"),
        ({"a": "absent.bin"}, "the shard 'absent.bin' is missing"),
        ({"a": "pytorch_model.bin"}, "'a': 'pytorch_model.bin' and the index differ"),
        ({"a": 3}, "no weight_map"),
        ([], "no weight_map"),
    ],
)
def test_indexes(weight_map: Any, reason: str, huggingface: Path, tmp_path: Path, refusal: Refusal) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "secret.bin")
    (huggingface / "link.bin").symlink_to(tmp_path / "secret.bin")
    (huggingface / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert reason in refusal(huggingface)


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\0" * 7 + b"\x40{}", b"\x02" + bytes(7) + b"{}"])
def test_damaged_safetensors(content: bytes, huggingface: Path, refusal: Refusal) -> None:
    (huggingface / "model.safetensors").write_bytes(content)
    assert re.search(r"model\.safetensors is not a safetensors file|no source tensor", refusal(huggingface))


def test_the_archive_is_damaged_behind_its_directory(huggingface: Path, refusal: Refusal) -> None:
    """The central directory is intact, a member's own header is not."""
    path = huggingface / "pytorch_model.bin"
    content = bytearray(path.read_bytes())
    at = content.index(b"pytorch_model/data/5") - 30
    content[at : at + 4] = bytes(4)
    path.write_bytes(content)
    assert "is damaged at 'pytorch_model/data/5': download it again" in refusal(huggingface)


def test_an_interrupted_conversion_leaves_nothing(
    huggingface: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bark_jax.convert import combine

    calls = []

    def interrupted(parts: dict[str, np.ndarray]) -> np.ndarray:
        calls.append(parts)
        raise KeyboardInterrupt

    monkeypatch.setattr(combine, "_folded", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert_checkpoint(huggingface, tmp_path / "out", progress=False)
    assert calls
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
