"""Do the stages' programs compile for accelerators? As far as JAX goes without one: to StableHLO for the platform.

The stages run as they always do, but each jitted function is exported for the platforms instead of run, and zeros take
the place of weights and results: nothing is computed, and the largest model needs no memory.
"""

import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest
from jax import export

from bark_jax import BarkConfig, Settings
from bark_jax.models.parameters import abstract_network, map_parameters
from bark_jax.policy import Policy
from bark_jax.stages import coarse, codec, fine, scoring, semantic
from bark_jax.voices.voice import Voice

PLATFORMS = ("tpu", "cuda")
CUSTOM_CALLS = {  # above all none to the host
    "cu_threefry2x32_ffi",  # random bits, where JAX's CUDA plugin is installed
    "LayoutConstraint",  # of the cache
}
UNCHECKED = [export.DisabledSafetyCheck.custom_call("LayoutConstraint")]
SIZES = [("tiny", "float32", 1), ("tiny", "bfloat16", 8)]
SLOW_SIZES = [
    pytest.param(*size, marks=pytest.mark.slow)
    for size in (("small", "float32", 1), ("large", "bfloat16", 1), ("large", "bfloat16", 8))
]
FILTERS = {
    f"{stage}_{name}": value for stage in ("semantic", "coarse") for name, value in (("top_k", 50), ("top_p", 0.9))
}


def zeros(leaf: Any) -> np.ndarray:
    """All of one number: any shape at no cost."""
    return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)


class Exporter:
    """A jitted function that is exported, and returns zeros, when it is called."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.exported: list[export.Exported] = []

    def _export(self, *arguments: Any, **options: Any) -> export.Exported:
        return export.export(self.function, platforms=PLATFORMS, disabled_checks=UNCHECKED)(*arguments, **options)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.exported.append(self._export(*arguments, **options))
        return jax.tree.map(zeros, self.function.eval_shape(*arguments, **options))


def run_semantic(network: Any, config: BarkConfig, batch: int, policy: Policy) -> None:
    texts = [np.zeros(9, np.int32)] * batch
    semantic.generate_semantic(network, config, texts, keys(batch), settings(config, batch), policy=policy)


def run_scoring(network: Any, config: BarkConfig, batch: int, policy: Policy) -> None:
    texts = [np.zeros(9, np.int32)] * batch
    for score in (scoring.score_semantic, scoring.attention_to_text):
        score(network, config, texts, texts, [None] * batch, policy)


def run_coarse(network: Any, config: BarkConfig, batch: int, policy: Policy) -> None:
    """One item has a voice, so that prompts of both lengths are prefilled."""
    tokens, codes = np.zeros(300, np.int32), np.zeros((config.codec.codebooks, 450), np.int32)
    voice = Voice(semantic=tokens, coarse=codes[: config.coarse.codebooks], fine=codes)
    for voices in ([None] * batch, [voice] * batch):
        coarse.generate_coarse(
            network, config, [tokens] * batch, keys(batch), settings(config, batch), voices, policy=policy
        )


def run_fine(network: Any, config: BarkConfig, batch: int, policy: Policy) -> None:
    codes = [np.zeros((config.coarse.codebooks, 300), np.int32)] * batch
    fine.generate_fine(network, config, codes, keys(batch), settings(config, batch), policy=policy)


def run_codec(network: Any, config: BarkConfig, batch: int, policy: Policy) -> None:
    codes = [np.zeros((config.codec.codebooks, 300), np.int32)] * batch
    codec.decode_codes(network, config, codes, policy=policy)
    next(codec.decode_pieces(network, codes))
    codec.encode_waveform(network, np.zeros(config.codec.sample_rate, np.float32))


def settings(config: BarkConfig, batch: int) -> list[Settings]:
    """With all filters, which are compiled only when asked for."""
    return [Settings.defaults(config).replace(**FILTERS)] * batch


def keys(batch: int) -> jax.Array:
    return jax.random.split(jax.random.key(0), batch)


@pytest.mark.parametrize(("size", "dtype", "batch"), [*SIZES, *SLOW_SIZES])
@pytest.mark.parametrize(
    ("stage", "run"),
    [
        (semantic, run_semantic),
        (scoring, run_scoring),
        (coarse, run_coarse),
        (fine, run_fine),
        (codec, run_codec),
    ],
)
def test_every_program_lowers_for_tpu_and_cuda(
    monkeypatch: pytest.MonkeyPatch, stage: ModuleType, run: Callable[..., None], size: str, dtype: str, batch: int
) -> None:
    programs = {name: Exporter(f) for name, f in vars(stage).items() if isinstance(f, jax.stages.Wrapped)}
    for name, program in programs.items():
        monkeypatch.setattr(stage, name, program)
    monkeypatch.setattr(stage, "fetch", np.asarray)
    config = BarkConfig.preset(size)
    name = stage.__name__.rpartition(".")[2]
    network = abstract_network(config, "semantic" if stage is scoring else name, param_dtype=dtype, dtype=dtype)
    policy = Policy.of_platform("tpu" if size == "tiny" else "gpu")
    run(map_parameters(lambda _, leaf: zeros(leaf), network), config, batch, policy)
    assert programs
    for name, program in programs.items():
        assert program.exported, f"{name} was not called"
        for exported in program.exported:
            text = exported.mlir_module()
            assert set(re.findall(r"custom_call @(\w+)", text)) <= CUSTOM_CALLS
            assert "f64" not in text
            assert ("bf16" in text) == (dtype == "bfloat16" and stage is not codec), "the codec is always float32"
