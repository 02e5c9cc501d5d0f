"""Training in several processes: the first one writes, once, what all of them make."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bark_jax.training.logs import EVENTS, METRICS, Log

from small import run_config


def test_the_log_of_another_process_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jax.process_index", lambda: 1)
    said: list[str] = []
    with Log(tmp_path, step=0, steps=2, say=said.append) as log:
        log.say("starts")
        log.train(1, {"loss": 1.0}, 0.1)
        log.validation(2, {"loss": 1.0})
    assert not said
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_two_processes_write_one_run(tmp_path: Path) -> None:
    run_config(tmp_path)  # makes the model's folder
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(Path(__file__).with_name("two_ranks.py")), str(port), str(tmp_path)]
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=1", "JAX_PLATFORMS": "cpu"}
    processes = [
        subprocess.Popen([*command, str(i)], env=environment, stderr=subprocess.PIPE, text=True) for i in range(2)
    ]
    try:
        for process in processes:
            _, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    lines = [json.loads(line) for line in (tmp_path / "run" / METRICS).read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert len(list((tmp_path / "run" / EVENTS).iterdir())) == 1
    assert (tmp_path / "said-0").read_text().endswith("fine.safetensors")
    assert not (tmp_path / "said-1").read_text()
