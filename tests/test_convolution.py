"""The convolution's own gradients are XLA's."""

import jax
import numpy as np
import pytest
from jax import Array

from bark_jax.models.convolution import convolve


def by_xla(x: Array, kernel: Array, stride: int) -> Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (stride,), "VALID", dimension_numbers=("NWC", "WIO", "NWC"), precision=jax.lax.Precision.HIGHEST
    )


@pytest.mark.parametrize(
    ("length", "taps", "stride"),
    [(50, 7, 1), (53, 6, 3), (52, 3, 1), (17, 16, 8), (33, 1, 1), (55, 5, 2), (9, 2, 4)],
    ids=str,
)
def test_gradients(length: int, taps: int, stride: int) -> None:
    rng = np.random.default_rng(0)
    x, kernel = (rng.standard_normal(shape, np.float32) for shape in ((2, length, 3), (taps, 3, 4)))
    output, pull = jax.vjp(lambda x, kernel: convolve(x, kernel, stride), x, kernel)
    expected, pull_expected = jax.vjp(lambda x, kernel: by_xla(x, kernel, stride), x, kernel)
    np.testing.assert_array_equal(output, expected)
    change = rng.standard_normal(output.shape, np.float32)
    for gradient, wanted in zip(pull(change), pull_expected(change), strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-5)
