"""One of the two processes of a training run: `two_ranks.py PORT FOLDER INDEX`. See `test_ranks.py`."""

import sys
from pathlib import Path

import jax

from bark_jax.training import run_training

from small import named_clips, run_config


def main(port: str, folder: str, index: str) -> None:
    """Writes what is said to FOLDER/said-INDEX."""
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_disable_most_optimizations", True)
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=int(index))
    said: list[str] = []
    mesh = jax.make_mesh((2,), ("data",))
    made = run_training(run_config(Path(folder)), "fine", clips=named_clips(), mesh=mesh, say=said.append)
    assert made.exists()
    Path(folder, f"said-{index}").write_text("\n".join(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
