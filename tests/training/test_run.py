"""Whole runs: what they leave in the model's folder and in their own, and how they fail."""

import dataclasses
import json
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

from bark_jax import Bark, BarkConfig
from bark_jax.checkpoint import CheckpointError, read_network, write_network
from bark_jax.errors import DivergenceError, RunError
from bark_jax.interrupts import noticing_ctrl_c
from bark_jax.models.parameters import parameters
from bark_jax.training import LoraConfig, Loss, TrainingError, fine_loss
from bark_jax.training import run as run_module
from bark_jax.training.run import CHECKPOINTS, SAMPLES, RunConfig, Schedule, run_training

from small import CONFIG, STAGES, assert_same, named_clips, networks, run_config, tones


def ignore(line: str) -> None:
    """Of no interest."""


def train(config: RunConfig, stage: str, say: Callable[[str], None] = ignore, **options: Any) -> Path:
    return run_training(config, stage, clips=tones() if stage == "codec" else named_clips(), say=say, **options)


def metrics(config: RunConfig) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, but for what differs from run to run."""
    lines = [json.loads(line) for line in (config.run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "steps_per_second"} for line in lines]


def saved_steps(config: RunConfig) -> list[int]:
    return sorted(int(path.name) for path in (config.run / CHECKPOINTS).iterdir() if path.name.isdigit())


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint to fine-tune, with random weights."""
    folder = run_config(tmp_path_factory.mktemp("start")).model
    for name, network in networks().items():
        write_network(folder, name, CONFIG, [(p, np.asarray(x)) for p, x in parameters(network).items()])
    return folder


def test_four_runs_make_a_model(tmp_path: Path) -> None:
    config = run_config(tmp_path, schedule=Schedule(log_every=1, save_every=2, validate_every=2, samples=2))
    for stage in STAGES[::-1]:
        ours = dataclasses.replace(config, run=tmp_path / stage)
        lines: list[str] = []
        assert train(ours, stage, lines.append) == config.model / f"{stage}.safetensors"
        assert "11 clips to learn, 1 held out" in lines[0]
        assert saved_steps(ours) == [4, 6]
        assert [line["step"] for line in metrics(ours) if "loss" in line] == [1, 2, 3, 4, 5, 6]
        assert [line["step"] for line in metrics(ours) if "validation_loss" in line] == [2, 4, 6]
        assert len(list((ours.run / SAMPLES / "step-000006").glob("*.wav"))) == 1
    assert Bark.from_pretrained(config.model).config == CONFIG


def test_a_network_that_is_there_is_not_lost(tmp_path: Path) -> None:
    config = run_config(tmp_path)
    made = train(config, "codec").read_bytes()
    assert train(config, "codec").read_bytes() == made  # done already
    assert [line["step"] for line in metrics(config) if "loss" in line] == [1, 2, 3, 4, 5, 6]
    other = dataclasses.replace(config, run=tmp_path / "other")
    with pytest.raises(TrainingError, match=r"codec\.safetensors is there already.*--restart"):
        train(other, "codec")
    (config.model / "codec.safetensors").write_bytes(b"")
    assert train(config, "codec", restart=True).read_bytes() == made
    assert len(metrics(config)) == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 8}, "batch is 8, .* begun with 4"),
        ({"train": {"learning_rate": 0.5}}, r"train\.learning_rate is 0\.5"),
        ({"train": {"steps": 7}}, r"train\.steps is 7"),
        ({"train": {"seed": 1}}, r"train\.seed is 1"),
    ],
)
def test_another_run_does_not_go_on(done: RunConfig, changes: dict[str, Any], message: str) -> None:
    before = saved_steps(done)
    with pytest.raises(TrainingError, match=message):
        train(run_config(done.run.parent, **changes), "codec")
    with pytest.raises(TrainingError, match="stage is 'fine', but"):
        train(done, "fine")
    assert saved_steps(done) == before


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """A run that has come to its end."""
    config = run_config(tmp_path_factory.mktemp("done"))
    train(config, "codec")
    return config


def test_other_clips_are_another_run(done: RunConfig) -> None:
    with pytest.raises(TrainingError, match=r"data\.clips is 11"):
        run_training(done, "codec", clips=tones(11), say=ignore)


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2)])
def test_fine_tuning_makes_a_copy_that_speaks(start: Path, tmp_path: Path, lora: LoraConfig | None) -> None:
    config = dataclasses.replace(
        run_config(tmp_path / "unused"), model=tmp_path / "tuned", run=tmp_path / "run", start=str(start), lora=lora
    )
    train(config, "fine")
    before, after = (parameters(read_network(folder, "fine", CONFIG)) for folder in (start, config.model))
    changed = {path for path in before if not np.array_equal(before[path], after[path])}
    adapted = {path for path in before if path.endswith(("projection.weight", "out.weight", "in.weight"))}
    assert changed == adapted if lora else changed > adapted
    for name in ("semantic", "coarse", "codec"):
        assert_same(*(parameters(read_network(folder, name, CONFIG)) for folder in (start, config.model)))
    assert Bark.from_pretrained(config.model).generate("Hi", max_seconds=0.2).sample_rate == 600
    assert train(config, "fine").exists()  # done already


def test_frozen_parameters_stay_as_they_are(start: Path, tmp_path: Path) -> None:
    config = run_config(tmp_path, train={"trainable": ("blocks.1.*",)}, start=str(start))
    train(config, "fine")
    before, after = (parameters(read_network(folder, "fine", CONFIG)) for folder in (start, config.model))
    changed = {path for path in before if not np.array_equal(before[path], after[path])}
    assert changed == {path for path in before if path.startswith("blocks.1.")}


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_ctrl_c_saves_and_says_how_to_go_on(done: RunConfig, tmp_path: Path) -> None:
    config = run_config(tmp_path)

    def interrupt(line: str) -> None:
        if line.startswith("step 1/"):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match=r"step \d is saved in .*checkpoints; the same command resumes"):
        train(config, "codec", interrupt)
    assert saved_steps(config)[0] in (1, 2)
    assert not (config.model / "codec.safetensors").exists()
    assert train(config, "codec").read_bytes() == (done.model / "codec.safetensors").read_bytes()
    assert metrics(config) == metrics(done)


@pytest.mark.usefixtures("ctrl_c_is_heard")
def test_the_second_ctrl_c_stops_at_once() -> None:
    lines: list[str] = []
    with noticing_ctrl_c(lambda: lines.append("noticed")) as stopping:
        assert not stopping()
        os.kill(os.getpid(), signal.SIGINT)
        assert stopping()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert lines == ["noticed"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    config = run_config(tmp_path, schedule=Schedule(log_every=1, save_every=1, held_out=0))
    clips = tones()
    clips[5] = np.full(300, 1e30, np.float32)  # which is in the second batch
    with pytest.raises(DivergenceError, match=r"step \d+ has the loss (nan|inf).*checkpoint \d in .* is kept"):
        run_training(config, "codec", clips=clips, say=ignore)
    assert saved_steps(config)
    assert not (config.model / "codec.safetensors").exists()
    assert all(np.isfinite(line.get("loss", 0)) for line in metrics(config))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of Orbax's threads, on busy machines
def test_a_full_disk_leaves_earlier_checkpoints(done: RunConfig, tmp_path: Path) -> None:
    config, limits = run_config(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(line: str) -> None:
        if line.startswith("step 3/"):
            while saved_steps(config) != [2]:
                time.sleep(0.01)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))  # as a full disk fails

    try:
        with pytest.raises(RunError, match=r"cannot write to .*checkpoints: .*earlier checkpoints are whole"):
            train(config, "codec", fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved_steps(config) == [2]
    assert train(config, "codec").read_bytes() == (done.model / "codec.safetensors").read_bytes()


def test_no_room_for_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, usage = run_config(tmp_path), shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("bark_jax.training.checkpoints.shutil.disk_usage", lambda path: usage)
    with pytest.raises(RunError, match=r"a checkpoint takes .* GB, only 0\.00 GB are free"):
        train(config, "codec")


def test_one_run_at_a_time(tmp_path: Path) -> None:
    config = run_config(tmp_path)
    with run_module._locked(config.run), pytest.raises(RunError, match="another training run is using"):
        train(config, "codec")


def scaled_fine_loss(network: Any, config: BarkConfig, batch: Any, key: jax.Array) -> Loss:
    loss = fine_loss(network, config, batch)
    return Loss(3 * loss.total, loss.terms, {"plain": loss.total})


def test_a_run_with_an_optimiser_and_a_loss_of_ones_own(tmp_path: Path) -> None:
    config = run_config(tmp_path)
    own: dict[str, Any] = {"transform": optax.sgd(0.1, momentum=0.9), "loss": scaled_fine_loss}
    made = train(config, "fine", **own).read_bytes()
    for line in metrics(config):
        if "plain" in line:
            np.testing.assert_allclose(line["loss"], 3 * line["plain"], rtol=1e-5)
            assert "learning_rate" not in line
    assert train(config, "fine", **own).read_bytes() == made
    with pytest.raises(TrainingError, match=r"transform is None, but the run .* was begun with 'own'"):
        train(config, "fine")


def test_every_rank_of_a_run_has_its_own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = run_config(tmp_path)
    with run_module._locked(config.run):
        monkeypatch.setattr("jax.process_index", lambda: 1)
        with run_module._locked(config.run), pytest.raises(RunError, match="another training run is using"):
            train(config, "codec")


def test_codes_of_another_codec(start: Path, tmp_path: Path) -> None:
    class Clips(list[Any]):
        codec = "0" * 64

    config = run_config(tmp_path, start=str(start))
    shutil.copy(start / "codec.safetensors", config.model)
    with pytest.raises(TrainingError, match="are of another codec"):
        run_training(config, "fine", clips=Clips(named_clips()), say=ignore)


def test_libraries_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"needs grain, orbax, tensorboardX: pip install '\.\[train\]'"):
        train(run_config(tmp_path), "codec")


def test_folders_that_are_no_model(tmp_path: Path) -> None:
    config = dataclasses.replace(run_config(tmp_path), model=tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="nothing is not a converted checkpoint"):
        train(config, "codec")
    assert not config.run.exists()
