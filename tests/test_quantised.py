"""Weights in int8: what they hold, and how they are stored and read."""

from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from bark_jax import Bark, BarkConfig
from bark_jax.checkpoint import CheckpointError, read_network
from bark_jax.config import NETWORKS
from bark_jax.models.parameters import abstract_network, parameters
from bark_jax.models.quantised import SCALES, dequantise, quantise

TINY = BarkConfig.tiny()


def test_a_weight_is_off_by_half_a_step_at_most() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((2, 5, 7), np.float32) * np.array([1e-30, 1e-3, 1, 1e3, 1e37], np.float32)[:, None]
    values, scales = quantise(matrix)
    assert (values.dtype, values.shape, scales.shape) == (np.int8, matrix.shape, matrix.shape[:-1])
    np.testing.assert_allclose(scales, np.abs(matrix).max(-1) / 127, rtol=1e-6)
    assert (np.abs(dequantise(values, scales) - matrix) <= 0.501 * scales[..., None]).all()
    again, same = quantise(dequantise(values, scales))
    np.testing.assert_array_equal(again, values)
    np.testing.assert_allclose(same, scales, rtol=1e-6)


def test_rows_of_nothing_stay_that() -> None:
    for row in (np.zeros((1, 4), np.float32), np.full((1, 4), 1e-44, np.float32), np.zeros((0, 4), np.float32)):
        values, scales = quantise(row)
        assert not values.any()
        assert (scales == 1).all()


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_weights_that_are_not_finite_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        quantise(np.array([[1, wrong]], np.float32))


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(TINY, jax.random.key(0), dtype="int8")


@pytest.fixture(scope="module")
def folder(bark: Bark, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bark.save_pretrained(tmp_path_factory.mktemp("int8") / "model")


def test_every_matrix_is_int8_and_every_vector_float32(bark: Bark) -> None:
    for name in ("semantic", "coarse", "fine"):
        for path, value in parameters(bark.engine.networks[name]).items():
            matrix = path.endswith(("weight", "token_embedding", "code_embeddings"))
            assert value.dtype == ("int8" if matrix else "float32"), path
            assert not matrix or path + SCALES in parameters(bark.engine.networks[name])
    assert "M parameters in float32, stored in int8" in repr(bark)


def test_what_is_saved_is_loaded_bit_for_bit(bark: Bark, folder: Path) -> None:
    """As it is stored, and where int8 is asked for; each matrix takes a byte a weight."""
    for name in NETWORKS:
        kept = parameters(bark.engine.networks[name])
        for dtype in (None, "int8"):
            loaded = parameters(read_network(folder, name, TINY, param_dtype=dtype))
            assert loaded.keys() == kept.keys()
            assert all(np.array_equal(loaded[path], kept[path]) for path in kept)
    floats = abstract_network(TINY, "semantic").token_embedding.size
    assert load_file(folder / "semantic.safetensors")["token_embedding"].nbytes == floats


def test_other_dtypes_are_read_from_int8_and_int8_from_others(bark: Bark, folder: Path, tmp_path: Path) -> None:
    wide = parameters(read_network(folder, "coarse", TINY, param_dtype="float32"))
    kept = parameters(bark.coarse)
    assert not any(path.endswith(SCALES) for path in wide)
    path = "blocks.0.mlp_in.weight"
    np.testing.assert_array_equal(wide[path], dequantise(np.asarray(kept[path]), np.asarray(kept[path + SCALES])))
    save_file({path: np.asarray(value) for path, value in wide.items()}, tmp_path / "coarse.safetensors")
    again = parameters(read_network(tmp_path, "coarse", TINY, param_dtype="int8"))
    for path in kept:
        np.testing.assert_allclose(np.asarray(again[path], np.float32), np.asarray(kept[path], np.float32), rtol=1e-6)


@pytest.mark.parametrize(
    ("scales", "message"), [(None, "int8 without its scales"), (np.ones(3, np.float32), r"scales \(3,\) do not fit")]
)
def test_scales_that_do_not_fit_are_named(
    folder: Path, tmp_path: Path, scales: np.ndarray | None, message: str
) -> None:
    tensors = load_file(folder / "fine.safetensors")
    del tensors["blocks.1.mlp_out.weight" + SCALES]
    if scales is not None:
        tensors["blocks.1.mlp_out.weight" + SCALES] = scales
    save_file(tensors, tmp_path / "fine.safetensors")
    with pytest.raises(CheckpointError, match=message):
        read_network(tmp_path, "fine", TINY, param_dtype="float32")
