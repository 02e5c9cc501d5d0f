"""Several devices: what the rules say, and that a mesh changes where things are but no token.

XLA's fake CPU devices must be asked for before JAX starts, so what needs them runs in processes of its own:
`eight_devices.py` with pytest, `two_processes.py` as a program.
"""

import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh

from bark_jax import Bark, BarkConfig
from bark_jax.config import NETWORKS
from bark_jax.models.parameters import parameter_shapes
from bark_jax.sharding import RULES, batch_sharding, fetch, pad_batch, parameter_sharding, put_batch

import two_processes

HERE = Path(__file__).parent
PATIENCE = 300  # seconds


def per_device(config: BarkConfig, name: str, mesh: AbstractMesh) -> int:
    """Parameters of a network that each device holds. Raises ValueError where the mesh does not divide a shape."""
    shapes = parameter_shapes(config, name).items()
    return sum(math.prod(parameter_sharding(path, mesh).shard_shape(shape)) for path, shape in shapes)


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("parts", [2, 4, 8])
def test_the_transformers_are_split_almost_evenly(size: str, parts: int) -> None:
    config, mesh = BarkConfig.preset(size), AbstractMesh((2, parts), ("data", "model"))
    for name in ("semantic", "coarse", "fine"):
        whole = sum(map(math.prod, parameter_shapes(config, name).values()))
        assert per_device(config, name, mesh) < whole * (1 / parts + 0.15)  # heads and codebook tables are whole


def test_without_a_model_axis_every_device_holds_all() -> None:
    config = BarkConfig.tiny(bias=True)
    for name in NETWORKS:
        whole = sum(map(math.prod, parameter_shapes(config, name).values()))
        assert per_device(config, name, AbstractMesh((8,), ("data",))) == whole


def test_every_rule_splits_something() -> None:
    config, mesh = BarkConfig.tiny(bias=True), AbstractMesh((1, 2), ("data", "model"))
    paths = [path for name in NETWORKS for path in parameter_shapes(config, name)]
    assert {parameter_sharding(path, mesh).spec for path in paths} >= {spec for _, spec in RULES}


def test_off_a_mesh_nothing_is_placed() -> None:
    bark = Bark.from_config(BarkConfig.tiny(), jax.random.key(0))
    batch = np.zeros((3, 2))
    assert batch_sharding(bark.semantic) is None
    assert put_batch(batch, None) is batch
    assert pad_batch([1, 2, 3], None) == [1, 2, 3]
    np.testing.assert_array_equal(fetch(jax.numpy.arange(3)), [0, 1, 2])


@pytest.mark.parametrize("axes", [("model",), ("data", "expert")])
def test_a_mesh_of_other_axes_is_refused(axes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match='the axes "data" and'):
        Bark.from_config(BarkConfig.tiny(), jax.random.key(0), mesh=jax.make_mesh((1,) * len(axes), axes))


@pytest.mark.slow
def test_eight_devices() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "eight_devices.py")]
    done = subprocess.run(command, env=on_cpu(devices=8), capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_processes(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(HERE / "two_processes.py"), str(port), str(tmp_path)]
    environment = on_cpu(devices=2)
    processes = [
        subprocess.Popen([*command, str(i)], env=environment, stderr=subprocess.PIPE, text=True) for i in range(2)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    expected = Bark.from_config(two_processes.CONFIG, jax.random.key(0)).generate(**two_processes.BATCH)
    for index in range(2):
        for i, result in enumerate(expected):
            np.testing.assert_array_equal(np.load(tmp_path / f"{index}-{i}.npy"), result.fine)


def on_cpu(devices: int) -> dict[str, str]:
    """An environment in which JAX finds so many devices, and compiles in half the time, as the tests mostly do that."""
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    return os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
