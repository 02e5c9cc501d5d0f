"""The names and shapes of every published file are matched completely; no weights are needed for that."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bark_jax.config import NETWORKS, BarkConfig
from bark_jax.convert.configs import read_huggingface_config
from bark_jax.convert.plan import Plan, plan
from bark_jax.convert.tensors import LazyTensor, LazyTensors

PREFIXES = {"semantic": "semantic.", "coarse": "coarse_acoustics.", "fine": "fine_acoustics.", "codec": "codec_model."}
DTYPES = {"F32": "float32", "BOOL": "bool"}


def ones(manifest: Path, prefix: str = "") -> LazyTensors:
    """The tensors of a manifest, all ones, in no memory."""
    listed: dict[str, dict[str, Any]] = json.loads(manifest.read_text())
    tensors = {}
    for name, entry in listed.items():
        if name.startswith(prefix):
            array = np.broadcast_to(np.float32(1), entry["shape"])
            dtype = DTYPES.get(entry["dtype"], entry["dtype"])
            tensors[name.removeprefix(prefix)] = LazyTensor(name, dtype, array.shape, lambda array=array: array)
    return tensors


def problems(plan: Plan) -> list[str]:
    return plan.problems + [problem for target in plan.targets for problem in target.problems()]


@pytest.mark.parametrize("layout", ["pytorch_model_bin", "transformers5_safetensors"])
@pytest.mark.parametrize("model", ["bark-small", "bark"])
@pytest.mark.parametrize("network", NETWORKS)
def test_huggingface(model: str, layout: str, network: str, shared_data: Path) -> None:
    config = read_huggingface_config(shared_data / model)
    assert config == (BarkConfig.small() if model == "bark-small" else BarkConfig.large())
    tensors = ones(shared_data / "manifests" / f"hf_{model}_{layout}.json", PREFIXES[network])
    assert problems(plan(network, config, tensors)) == []


@pytest.mark.parametrize("suffix", ["", "_2"])
@pytest.mark.parametrize("network", NETWORKS[:3])
def test_suno(network: str, suffix: str, shared_data: Path) -> None:
    stem = "text" if network == "semantic" else network
    tensors = ones(shared_data / "manifests" / f"suno_{stem}{suffix}_model.json")
    assert problems(plan(network, BarkConfig.large() if suffix else BarkConfig.small(), tensors)) == []


def test_encodec(shared_data: Path) -> None:
    planned = plan("codec", BarkConfig.small(), ones(shared_data / "manifests" / "encodec_24khz_th.json"))
    assert problems(planned) == []
    assert planned.left_out == {"codebook training statistics": 3 * 32, "codebooks that Bark does not use": 24}
