"""Products of few rows in C++ against NumPy, and what happens without them."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bark_jax import Bark, BarkConfig, kernels
from bark_jax.models.attention import attend
from bark_jax.models.gpt import GPT
from bark_jax.models.random_networks import random_network
from bark_jax.policy import PLAIN, Policy

ROOT = Path(__file__).parents[1]
CODES = np.iinfo(np.int8)

needs_library = pytest.mark.skipif(not kernels.available(), reason="no C++ library: there was no compiler")


def weights(rng: np.random.Generator, dtype: str, outputs: int, inputs: int) -> np.ndarray:
    if dtype == "int8":
        return rng.integers(CODES.min, CODES.max + 1, (outputs, inputs), np.int8)
    return rng.standard_normal((outputs, inputs), np.float32).astype(jnp.dtype(dtype))


@needs_library
@pytest.mark.parametrize("dtype", kernels.DTYPES)
def test_products_are_those_of_numpy(dtype: str) -> None:
    """Random shapes with tails of vectors and of tiles, matrices of more than one piece, and none."""
    rng = np.random.default_rng(0)
    shapes = [(1, 1, 1), (16, 0, 3), (3, 5, 0), (2, 9000, 17), (4, 64, 2500), *rng.integers(1, (17, 200, 100), (12, 3))]
    for rows, inputs, outputs in shapes:
        x, weight = rng.standard_normal((rows, inputs), np.float32), weights(rng, dtype, outputs, inputs)
        scales = rng.uniform(0.1, 2, outputs).astype(np.float32) if dtype == "int8" else None
        made = kernels.multiply(jnp.asarray(x), jnp.asarray(weight), None if scales is None else jnp.asarray(scales))
        wide = weight.astype(np.float64) * (1 if scales is None else scales[:, None])
        size = np.abs(x) @ np.abs(wide).T  # what rounding is relative to
        assert (np.abs(made - x @ wide.T) <= 1e-6 * size + 1e-30).all(), (rows, inputs, outputs)
        np.testing.assert_allclose(kernels.plain(x, weight, scales), made, rtol=1e-5, atol=1e-5 * size.max(initial=1))


@needs_library
@pytest.mark.parametrize("dtype", kernels.DTYPES)
def test_rows_do_not_depend_on_each_other(dtype: str) -> None:
    rng = np.random.default_rng(1)
    x, weight = jnp.asarray(rng.standard_normal((16, 109), np.float32)), jnp.asarray(weights(rng, dtype, 53, 109))
    alone = np.concatenate([kernels.multiply(x[row : row + 1], weight) for row in range(16)])
    for rows in range(2, 17):
        np.testing.assert_array_equal(kernels.multiply(x[:rows], weight), alone[:rows])


@needs_library
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_extreme_values(dtype: str) -> None:
    """Infinities, NaN, the largest and the smallest numbers, −0, in the vectors and in the tail."""
    kinds = np.array([np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-40, -0.0, 1.0], np.float32)
    for place in (0, 18):  # of 19
        weight = np.zeros((len(kinds), 19), np.float32)
        weight[:, place] = kinds
        weight = weight.astype(jnp.dtype(dtype))
        x = np.zeros((1, 19), np.float32)
        x[0, place] = 0.5
        wanted = weight[:, place].astype(np.float32) * np.float32(0.5)
        made = np.asarray(kernels.multiply(jnp.asarray(x), jnp.asarray(weight)))[0]
        np.testing.assert_allclose(made, wanted, rtol=0, atol=1e-38)  # the processor may flush what is not normal
    integers = np.tile(np.array([CODES.min, CODES.max], np.int8), (3, 40))
    np.testing.assert_array_equal(kernels.multiply(jnp.full((1, 80), 2.0), jnp.asarray(integers)), np.full((1, 3), -80))


@needs_library
def test_attention_is_the_plain_one_and_reads_what_is_visible() -> None:
    """Any widths, whole and partial ranges, single slots; what is not visible may be NaN."""
    rng = np.random.default_rng(2)
    for rows, slots, width in [(1, 1, 1), (3, 5, 64), (12, 130, 64), (4, 33, 32), (2, 70, 19), (5, 9, 100)]:
        q = rng.standard_normal((rows, width), np.float32)
        keys, values = 3 * rng.standard_normal((2, rows, slots, width), np.float32)
        first = rng.integers(0, slots, rows)
        last = rng.integers(first, slots)
        place = np.arange(slots)
        visible = (place >= first[:, None]) & (place <= last[:, None])
        wanted = attend(*map(jnp.asarray, (q[:, None], keys, values, visible[:, None])))[:, 0]
        hidden = np.where(visible[..., None], 0, np.nan).astype(np.float32)
        arguments = [jnp.asarray(x) for x in (q, keys + hidden, values + hidden, visible)]
        made = kernels.attend(*arguments)
        np.testing.assert_allclose(made, wanted, rtol=1e-5, atol=1e-5)
        alone = kernels.attend(*(x[-1:] for x in arguments))
        np.testing.assert_array_equal(alone, made[-1:])


@pytest.mark.parametrize(
    ("x", "weight", "scales"),
    [
        (jnp.zeros((1, 4)), jnp.zeros((2, 5)), None),
        (jnp.zeros(4), jnp.zeros((2, 4)), None),
        (jnp.zeros((17, 4)), jnp.zeros((2, 4)), None),
        (jnp.zeros((1, 4)), jnp.zeros((2, 4), jnp.int8), jnp.zeros(4)),
        (jnp.zeros((1, 4)), jnp.zeros((2, 4), jnp.float16), None),
        (jnp.zeros((1, 4), jnp.bfloat16), jnp.zeros((2, 4)), None),
    ],
)
def test_what_does_not_fit_is_refused_while_tracing(x: jax.Array, weight: jax.Array, scales: jax.Array | None) -> None:
    with pytest.raises(ValueError, match="no product of"):
        jax.eval_shape(kernels.multiply, x, weight, scales)


@pytest.mark.parametrize(
    ("loaded", "said"),
    [("no compiler was there when this package was installed", "plain JAX (no compiler"), (None, None)],
)
def test_without_the_library_it_is_plain_jax(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, loaded: str | None, said: str | None
) -> None:
    """Nothing was compiled, or what is there does not load."""
    if loaded is None:
        (tmp_path / "_products.so").write_bytes(b"not a library")
        monkeypatch.setattr(kernels, "__file__", str(tmp_path / "__init__.py"))
        monkeypatch.setattr(kernels, "_load", kernels._load.__wrapped__)
        said = "plain JAX (_products.so does not load: "
    else:
        monkeypatch.setattr(kernels, "_load", lambda: loaded)
    assert not kernels.available()
    assert kernels.description().startswith(str(said))
    assert Policy.of_mesh(None) == PLAIN


@pytest.mark.slow
@needs_library
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8"])
def test_a_model_says_the_same_with_and_without_them(dtype: str) -> None:
    bark = Bark.from_config(BarkConfig.tiny(), jax.random.key(0), dtype=dtype)
    assert bark.engine.policy.kernels
    batch = ["One.", "Two words.", "Three more words."]
    cold = dict.fromkeys(("semantic_temperature", "coarse_temperature", "fine_temperature"), 0.0)
    options = {**cold, "voice": "none", "max_seconds": 0.2, "allow_early_stop": False}
    together = bark.generate(batch, **options)
    for text, clip in zip(batch, together, strict=True):
        np.testing.assert_array_equal(bark.generate(text, **options).fine, clip.fine)
    bark.engine.policy = replace(bark.engine.policy, kernels=False)
    for clip, plain in zip(together, bark.generate(batch, **options), strict=True):
        np.testing.assert_array_equal(clip.fine, plain.fine)


@pytest.mark.slow
def test_no_byte_outside_the_arrays_is_touched(tmp_path: Path) -> None:
    """All widths, dtypes and tails under AddressSanitizer."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ to sanitise with")
    program, source = tmp_path / "sanitised", ROOT / "tests" / "kernels_sanitised.cc"
    flags = ["-std=c++17", "-O0", "-w", "-fsanitize=address"]  # optimised, it compiles for minutes
    include = [f"-I{jax.ffi.include_dir()}", f"-I{ROOT / 'bark_jax' / 'kernels'}"]
    subprocess.run([compiler, *flags, *include, str(source), "-o", str(program)], check=True, timeout=300)
    done = subprocess.run([str(program)], check=True, timeout=300, capture_output=True, text=True)
    assert done.stdout.startswith("products: ")


@needs_library
def test_no_bfloat16_table_is_widened_whole() -> None:
    """Tokens, positions and the live rows of the head are picked first."""
    gpt = random_network(BarkConfig.tiny(), "coarse", jax.random.key(0), param_dtype="bfloat16")
    tokens, policy = jnp.array([3, 300]), Policy.of(gpt)

    def run(gpt: GPT, tokens: jax.Array, policy: Policy) -> tuple[jax.Array, jax.Array]:
        x = gpt.embed(tokens, policy) + gpt._positions(tokens, policy)
        return x, gpt.logits(x, tokens[0], 64, policy)

    jitted = jax.jit(run, static_argnums=2)
    rows = {gpt.config.input_vocab, gpt.config.output_vocab, gpt.config.block_size}
    text = jitted.lower(gpt, tokens, policy).compile().as_text()
    assert not any(f"f32[{count},{gpt.config.width}]" in text for count in rows)
    for made, plain in zip(jitted(gpt, tokens, policy), jitted(gpt, tokens, PLAIN), strict=True):
        np.testing.assert_allclose(made, plain, rtol=1e-5, atol=1e-6)
