"""A network that is made without weights can be trained: its first weights are drawn."""

import math

import jax
import numpy as np
import pytest
from flax import nnx

from bark_jax import BarkConfig
from bark_jax.models.encodec import Encodec
from bark_jax.models.fine_gpt import FineGPT
from bark_jax.models.gpt import GPT
from bark_jax.models.parameters import parameters

CONFIG = BarkConfig.tiny(bias=True)


def flat(network: nnx.Module) -> dict[str, np.ndarray]:
    return {path: np.asarray(value) for path, value in parameters(network).items()}


@pytest.mark.parametrize(("kind", "config"), [(GPT, CONFIG.semantic.gpt), (FineGPT, CONFIG.fine.gpt)])
def test_transformers_begin_as_gpt2_does(kind: type[nnx.Module], config: object) -> None:
    drawn = flat(kind(config, rngs=nnx.Rngs(1), param_dtype="bfloat16"))
    for path, value in drawn.items():
        assert value.dtype == "bfloat16"
        value = value.astype(np.float32)
        if path.endswith("bias"):
            assert not value.any(), path
        elif path.endswith("scale"):
            assert (value == 1).all(), path
        else:
            residual = path.endswith(("attention_out.weight", "mlp_out.weight"))
            expected = 0.02 / math.sqrt(2 * CONFIG.semantic.gpt.layers) if residual else 0.02
            assert value.std() == pytest.approx(expected, rel=0.1), path
    assert not np.array_equal(drawn["blocks.0.mlp_in.weight"], drawn["blocks.1.mlp_in.weight"])


def test_the_key_decides_and_none_is_a_seed_of_zero() -> None:
    config = CONFIG.coarse.gpt
    first, again, zero, default = (flat(GPT(config, **rngs)) for rngs in (
        {"rngs": nnx.Rngs(1)}, {"rngs": nnx.Rngs(1)}, {"rngs": nnx.Rngs(0)}, {},
    ))  # fmt: skip
    np.testing.assert_equal(first, again)
    np.testing.assert_equal(zero, default)
    assert not np.array_equal(first["head.weight"], zero["head.weight"])


def test_a_codec_neither_fades_nor_explodes() -> None:
    codec = Encodec(CONFIG.codec, rngs=nnx.Rngs(0))
    waveform = np.sin(np.arange(960) / 10, dtype=np.float32)[None]
    codes = jax.jit(Encodec.encode)(codec, waveform)
    assert codes.shape == (1, 8, 3)
    assert 1e-4 < float(np.std(jax.jit(Encodec.decode)(codec, codes))) < 10
    assert float(np.std(jax.jit(lambda codec, x: codec.encoder(x))(codec, waveform[..., None]))) > 1e-3


def test_shapes_cost_no_memory() -> None:
    abstract = nnx.eval_shape(lambda: GPT(BarkConfig.large().semantic.gpt))
    assert {type(leaf) for leaf in jax.tree.leaves(abstract)} == {jax.ShapeDtypeStruct}
