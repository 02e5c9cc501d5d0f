"""The engine ray: the files of the local one, also when an actor and a machine die."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bark_jax.bulk import run
from bark_jax.bulk.engines import Work, run_here
from bark_jax.bulk.ray import run_ray
from bark_jax.bulk.rows import read_rows

from folders import content, entries, lines

ray = pytest.importorskip("ray", reason="the engine ray is tested where Ray is installed")
pytestmark = pytest.mark.slow


def test_ray_makes_the_same_files(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_bytes(lines(entries(7)[:7]))
    for engine in ("local", "ray"):
        command = [sys.executable, "-m", "bark_jax", "bulk", "texts.jsonl", "--to", engine, "--model", "random:tiny",
                   "--engine", engine, "--compile-cache", str(tmp_path / "cache")]  # fmt: skip
        environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=280, check=False, env=environment, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
    assert content(tmp_path / "ray") == content(tmp_path / "local")
    assert len(list((tmp_path / "ray").glob("*.flac"))) == 7


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two machines of one core each, and one that only manages them."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    own = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    own.machines = [own.add_node(num_cpus=1) for _ in range(2)]
    ray.init(address=own.address, log_to_driver=False)
    yield own
    ray.shutdown()
    own.shutdown()


@pytest.mark.filterwarnings("ignore")  # of Ray's own
def test_an_actor_and_a_machine_may_die(tmp_path: Path, cluster: Any) -> None:
    rows, bad = read_rows("x.jsonl", lines(entries(260)))
    plans = {name: run.make_plan(tmp_path / name, "flac", "random:tiny", rows, bad) for name in ("local", "ray")}

    def work(name: str) -> Work:
        return Work(
            source="random:tiny", name="random:tiny", folder=tmp_path / name, format="flac", batch_size=1,
            compile_cache=tmp_path / "cache",
        )  # fmt: skip

    list(run_here(work("local"), run.open_folder(plans["local"])))
    made = run_ray(work("ray"), run.open_folder(plans["ray"]), 2)
    done = next(made)
    actors = [own for own in psutil.process_iter() if any("ChunkSpeaker" in word for word in own.cmdline())]
    assert actors
    actors[0].kill()
    done += next(made)
    cluster.remove_node(cluster.machines[0], allow_graceful=False)
    assert done + sum(made) == len(rows)
    for plan in plans.values():
        run.close_folder(plan)
    assert content(tmp_path / "ray") == content(tmp_path / "local")
