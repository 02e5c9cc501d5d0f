"""One of two hosts with two devices each: `two_processes.py PORT FOLDER INDEX` writes the tokens it got to FOLDER.

A test runs both; see `test_sharding.py`.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from bark_jax import Bark, BarkConfig
from bark_jax.settings import SettingsError


def shallow(config: BarkConfig) -> BarkConfig:
    """The same with one block per transformer, which compiles faster."""

    def cut(stage: Any) -> Any:
        return dataclasses.replace(stage, gpt=dataclasses.replace(stage.gpt, layers=1))

    return dataclasses.replace(config, semantic=cut(config.semantic), coarse=cut(config.coarse), fine=cut(config.fine))


CONFIG = shallow(BarkConfig.tiny(bias=True))
BATCH: dict[str, Any] = {"text": ["One", "Two", "Three"], "seed": [1, 2, 3], "max_seconds": 1.5, "min_eos_p": 0.01}


def main(port: str, folder: str, index: str) -> None:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=int(index))
    mesh = jax.make_mesh((2, 2), ("data", "model"))
    bark = Bark.from_config(CONFIG, jax.random.key(0), mesh=mesh)
    assert not bark.semantic.blocks[0].mlp_in.weight[...].is_fully_addressable
    with pytest.raises(SettingsError, match="give a seed"):
        bark.generate("Hello")
    for i, result in enumerate(bark.generate(**BATCH, progress=lambda *_: None)):
        np.save(Path(folder) / f"{index}-{i}.npy", result.fine)


if __name__ == "__main__":
    main(*sys.argv[1:])
