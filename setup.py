"""The one part of the build that pyproject.toml cannot say: the C++ library, where jaxlib's headers are.

It is optional: without a compiler the package installs without it, and plain JAX computes the same, slower.
"""

import importlib.util
from pathlib import Path

from setuptools import Extension, setup

jaxlib = importlib.util.find_spec("jaxlib")
headers = Path(jaxlib.origin).with_name("include") if jaxlib and jaxlib.origin else None

products = Extension(
    "bark_jax.kernels._products",
    ["bark_jax/kernels/products.cc"],
    include_dirs=[str(headers)],
    extra_compile_args=["-std=c++17", "-O3", "-w"],  # the warnings are about the headers
    language="c++",
    optional=True,
)
setup(ext_modules=[products] if headers else [])
