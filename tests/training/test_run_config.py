"""The configuration of a run: TOML, and changes to it."""

from pathlib import Path

import pytest

from bark_jax.training import LoraConfig, TrainingError
from bark_jax.training.run import RunConfig

TOML = """
model = "model"
data = "data"
run = "runs/codec"
[train]
steps = 100
warmup_steps = 10
trainable = ["encoder.*"]
[train.codec]
windows = [32, 64]
[schedule]
save_every = 10
"""


def load(folder: Path, *overrides: str, text: str = TOML) -> RunConfig:
    (folder / "run.toml").write_text(text, encoding="utf-8")
    return RunConfig.load(folder / "run.toml", overrides)


def test_every_setting_has_its_place(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert config.run == Path("runs/codec")
    assert (config.train.steps, config.train.trainable) == (100, ("encoder.*",))
    assert (config.train.codec.windows, config.schedule.save_every) == ((32, 64), 10)
    assert config.lora is None
    assert config.start is None


def test_overrides(tmp_path: Path) -> None:
    config = load(
        tmp_path, "train.steps=200", "train.learning_rate=1e-4", "run=other/run", "start=suno/bark", "lora.rank=4",
        'train.trainable=["a", "b"]', "schedule.held_out=0",
    )  # fmt: skip
    assert (config.train.steps, config.train.learning_rate) == (200, 1e-4)
    assert (config.run, config.start, config.lora) == (Path("other/run"), "suno/bark", LoraConfig(rank=4))
    assert (config.train.trainable, config.schedule.held_out) == (("a", "b"), 0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("steps=200", "run: there is no field steps"),
        ("train.stepz=200", "train: there is no field stepz; did you mean steps"),
        ("train.steps=many", "train.steps must be int, not 'many'"),
        ("train.steps=0", "steps must be ≥ 1, not 0"),
        ("train.learning_rate=nan", "learning_rate must be a number"),
        ("train.trainable=[1]", "trainable must be str, not 1"),
        ("train.trainable=[]", "trainable must be a list of strings"),
        ("train=1", "train must be an object"),
        ("model.name=x", "model is not a table"),
        ("model=1", "model must be Path, not 1"),
        ("batch=-1", "batch must be a number from 0"),
        ("batch=0", "batch must be ≥ 1"),
        ("train.microbatches=3", "batch 16 cannot be divided into 3"),
        ("schedule.keep=0", "keep must be ≥ 1"),
        ("schedule.held_out=1", r"held_out must be in \[0, 1\)"),
        ("lora.rank=4", "need a checkpoint to adapt"),
        ("start=model", "needs a folder of its own"),
        ("steps", "'steps' is no setting"),
        ("=1", "'=1' is no setting"),
    ],
)
def test_what_cannot_be_set(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        load(tmp_path, override)


@pytest.mark.parametrize(
    ("text", "message"),
    [("model = ", "is not TOML"), ("batch = 1", "the field model is missing"), ("model = '\udcff'", "is not TOML")],
)
def test_files_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(TrainingError, match=rf"run\.toml.*{message}"):
        RunConfig.load(tmp_path / "run.toml")


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"cannot read .*none\.toml: No such file"):
        RunConfig.load(tmp_path / "none.toml")
