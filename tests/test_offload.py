"""Offloaded weights: on the device only while their stage runs, and full-size ones are never in memory twice."""

import dataclasses
import gc
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from bark_jax import Bark, BarkConfig
from bark_jax.checkpoint import write_checkpoint
from bark_jax.config import NETWORKS
from bark_jax.models.parameters import abstract_network, parameter_shapes
from bark_jax.text import builtin_tokenizer


def narrow(config: BarkConfig) -> BarkConfig:
    """The transformers with widths of their own, so that a shape tells which network a parameter belongs to."""

    def resize(stage: Any, width: int) -> Any:
        return dataclasses.replace(stage, gpt=dataclasses.replace(stage.gpt, width=width, layers=1))

    return dataclasses.replace(
        config, semantic=resize(config.semantic, 36), coarse=resize(config.coarse, 44), fine=resize(config.fine, 52)
    )


CONFIG = narrow(BarkConfig.tiny())


def live_networks(others: Collection[Array] = ()) -> set[str]:
    """The networks of which a matrix is on a device, not counting the arrays of other tests."""
    matrices = {
        name: {shape for shape in parameter_shapes(CONFIG, name).values() if len(shape) > 1 and shape[-1] > 1}
        for name in NETWORKS
    }
    known = {id(array) for array in others}
    live = {array.shape for array in jax.live_arrays() if id(array) not in known}
    return {name for name, shapes in matrices.items() if shapes & live}


def test_only_the_stage_at_work_has_weights_on_the_device() -> None:
    others = jax.live_arrays()
    bark, seen = Bark.from_config(CONFIG, jax.random.key(0), offload=True), {}
    assert live_networks(others) == set()
    gc.disable()  # they must be freed at once, not at some later time
    try:
        bark.generate("Hello", seed=1, max_seconds=1, progress=lambda s, *_: seen.setdefault(s, live_networks(others)))
        assert live_networks(others) == set()
        bark.encode(np.zeros(640, np.float32))
        assert live_networks(others) == set()
    finally:
        gc.enable()
    assert seen == {name: {name} for name in NETWORKS}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_offloading_changes_nothing(tmp_path: Path, dtype: str) -> None:
    write(tmp_path / "checkpoint", CONFIG)
    offloaded, resident = (
        Bark.from_pretrained(tmp_path / "checkpoint", dtype=dtype, offload=offload) for offload in (True, False)
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(offloaded.coarse)} == {jnp.dtype(dtype)}
    first, second = (bark.generate("Hello", seed=1, max_seconds=1) for bark in (offloaded, resident))
    np.testing.assert_array_equal(first.waveform, second.waveform)


def test_the_largest_network_is_less_than_a_third_of_all() -> None:
    """Device memory for weights, full size: 4.4 GB in float32, 1.8 GB offloaded, 0.9 GB offloaded in bfloat16."""
    sizes = {
        dtype: [
            sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(network))
            for network in (abstract_network(BarkConfig.large(), name, param_dtype=dtype) for name in NETWORKS)
        ]
        for dtype in ("float32", "bfloat16")
    }
    assert max(sizes["bfloat16"]) < 0.3 * sum(sizes["float32"])


def write(folder: Path, config: BarkConfig) -> None:
    """A checkpoint of weights that are drawn one by one."""
    rng = np.random.default_rng(0)
    networks = {
        name: ((path, 0.02 * rng.standard_normal(shape, np.float32)) for path, shape in shapes.items())
        for name, shapes in ((name, parameter_shapes(config, name)) for name in NETWORKS)
    }
    write_checkpoint(folder, config, networks, tokenizer_json=builtin_tokenizer().to_str())


LOAD = """
import sys, threading, time, re
from pathlib import Path
from bark_jax import Bark

def resident():
    return int(re.search(r"RssAnon:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

before, peak, done = resident(), 0, False
def watch():
    global peak
    while not done:
        peak = max(peak, resident())
        time.sleep(0.005)
watcher = threading.Thread(target=watch)
watcher.start()
bark = Bark.from_pretrained(sys.argv[1], dtype="float32", offload=sys.argv[2] == "True")
done = True
watcher.join()
print("peak", peak - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_loading_holds_no_second_copy(tmp_path: Path) -> None:
    config = BarkConfig.large()
    write(tmp_path / "large", config)
    size = sum(4 * math.prod(shape) for name in NETWORKS for shape in parameter_shapes(config, name).values())
    largest = max(4 * math.prod(shape) for name in NETWORKS for shape in parameter_shapes(config, name).values())
    for offload in (False, True):
        command = [sys.executable, "-c", LOAD, str(tmp_path / "large"), str(offload)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        peak = int(re.search(r"peak (\d+)", output)[1])
        print(f"offload={offload}: {size / 1e9:.2f} GB of parameters, peak {peak / 1e9:.2f} GB anonymous")
        assert peak < size + largest + 0.3e9  # one tensor is on its way
    shutil.rmtree(tmp_path / "large")
