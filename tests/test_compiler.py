"""XLA's CPU compiler hands reductions to a library, and has miscompiled some (jax#39103): none of ours is touched.

Each program is compiled with and without that library; tokens must be equal, waveforms and gradients equal up to
rounding. Should this fail for a version of jaxlib, exclude the version in pyproject.toml.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("compiler_outputs.py")
WITHOUT_LIBRARY = "--xla_cpu_experimental_ynn_fusion_type="


def outputs(preset: str, flags: str, path: Path) -> dict[str, np.ndarray]:
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_ENABLE_COMPILATION_CACHE": "false", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, SCRIPT, preset, path], env=environment, check=True, cwd=SCRIPT.parents[1])
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_programs_do_not_depend_on_the_library_for_reductions(preset: str, tmp_path: Path) -> None:
    with_library = outputs(preset, "", tmp_path / "with.npz")
    without = outputs(preset, WITHOUT_LIBRARY, tmp_path / "without.npz")
    assert with_library.keys() == without.keys()
    for name, expected in without.items():
        if expected.dtype.kind == "i":
            np.testing.assert_array_equal(with_library[name], expected, err_msg=name)
        else:
            error = np.linalg.norm(with_library[name].astype(np.float64) - expected)
            assert error <= 1e-4 * np.linalg.norm(expected.astype(np.float64)), name
