"""Products of few rows with a large matrix, and attention of single queries: in C++ (`products.cc`), or in plain JAX.

Axes: M rows, I inputs, O outputs.

`plain` is the definition. `multiply` is the same to rounding, and faster on CPUs: it reads each weight once, in the few
bytes that it is stored in. It can be neither differentiated nor split over devices, and `jax.vmap` runs it item by
item: policies choose it only for stages that run on one CPU.
"""

import ctypes
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import Array

ROWS = 16  # at most: with more, XLA's own products are as fast
DTYPES = ("float32", "bfloat16", "int8")  # of weights
_PROJECT, _ATTEND = "bark_jax_project", "bark_jax_attend"
_INSTRUCTIONS = ("portable", "AVX2", "AVX-512")  # by bark_jax_width()


def plain(x: Array, weight: Array, scales: Array | None = None) -> Array:
    """x [M, I] · weight [O, I]ᵀ · scales [O], in float32 → float32 [M, O]."""
    y = jnp.einsum("mi,oi->mo", x, weight.astype(jnp.float32), precision="highest")
    return y if scales is None else y * scales


def multiply(x: Array, weight: Array, scales: Array | None = None) -> Array:
    """`plain` by the library: x float32, weight of DTYPES, scales float32, M ≤ ROWS. Raises ValueError for others.

    The numbers of a row do not depend on the other rows, nor on how many there are.
    """
    scales = jnp.zeros(0, jnp.float32) if scales is None else scales
    fit = x.ndim == weight.ndim == 2 and x.shape[1] == weight.shape[1] and scales.shape in ((0,), weight.shape[:1])
    if not fit or x.shape[0] > ROWS:
        raise ValueError(f"no product of x {x.shape}, weight {weight.shape} and scales {scales.shape}, M ≤ {ROWS}")
    if x.dtype != jnp.float32 or scales.dtype != jnp.float32 or weight.dtype not in DTYPES:
        raise ValueError(f"no product of {x.dtype} and {weight.dtype} with scales in {scales.dtype}")
    result = jax.ShapeDtypeStruct((x.shape[0], weight.shape[0]), jnp.float32)
    product: Array = jax.ffi.ffi_call(_PROJECT, result, vmap_method="sequential")(x, weight, scales)
    return product


def attend(q: Array, keys: Array, values: Array, visible: Array) -> Array:
    """Attention of one query for each row over its visible slots; the others are not read.

    q [R, D], keys and values [R, S, D], float32; visible [R, S], bool, at least one slot in each row → float32 [R, D].
    `models.attention.attend` is the definition. Raises ValueError for what does not fit.
    """
    rows, slots, width = keys.shape
    if q.shape != (rows, width) or values.shape != keys.shape or visible.shape != (rows, slots):
        raise ValueError(f"no attention of q {q.shape} over {keys.shape} and {values.shape}, visible {visible.shape}")
    if {q.dtype, keys.dtype, values.dtype} != {jnp.dtype(jnp.float32)} or visible.dtype != bool:
        raise ValueError(f"no attention of {q.dtype} over {keys.dtype} and {values.dtype}, visible in {visible.dtype}")
    result = jax.ShapeDtypeStruct(q.shape, jnp.float32)
    attended: Array = jax.ffi.ffi_call(_ATTEND, result, vmap_method="sequential")(q, keys, values, visible)
    return attended


def available() -> bool:
    """Whether `multiply` can be used."""
    return not isinstance(_load(), str)


def description() -> str:
    """What multiplies few rows on this machine's CPU, for people: the library, or why it is plain JAX."""
    library = _load()
    return f"plain JAX ({library})" if isinstance(library, str) else f"C++ ({_INSTRUCTIONS[library.bark_jax_width()]})"


@functools.cache
def _load() -> ctypes.CDLL | str:
    """The library, registered with XLA; why there is none, if there is none."""
    found = sorted(Path(__file__).parent.glob("_products*.so"))
    if not found:
        return "no compiler was there when this package was installed"
    try:
        library = ctypes.CDLL(str(found[0]))
        for name in (_PROJECT, _ATTEND):
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(library[name]), platform="cpu")
    except Exception as error:  # of another JAX, or another machine: plain JAX serves
        return f"{found[0].name} does not load: {str(error).strip().partition(chr(10))[0]}"
    return library
