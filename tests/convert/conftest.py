"""Checkpoints in PyTorch's formats, tiny and whole, for tests to convert or to break."""

import json
from pathlib import Path

import pytest

from bark_jax.config import BarkConfig, EncodecConfig

from torch_checkpoints import (
    State,
    random_model,
    save_bin,
    write_huggingface,
    write_suno,
)


@pytest.fixture(scope="session")
def config() -> BarkConfig:
    return BarkConfig.tiny()


@pytest.fixture(scope="session")
def state(config: BarkConfig) -> State:
    """Every tensor of a tiny BarkModel by the names of transformers 5, tied twins and masks included."""
    return random_model(config).state_dict()


@pytest.fixture
def huggingface(tmp_path: Path, state: State, config: BarkConfig) -> Path:
    """A good folder in Hugging Face's layout, for tests to break."""
    return write_huggingface(tmp_path / "source", state, config, save_bin)


@pytest.fixture(scope="session")
def suno_config() -> BarkConfig:
    """Suno's token ids and EnCodec, but narrow transformers."""
    size: dict[str, int] = {"layers": 2, "heads": 2, "width": 16}
    published = BarkConfig.small()
    return BarkConfig.from_dict(json.loads(published.to_json()) | {
        "semantic": {"gpt": size | {"input_vocab": 129_600, "output_vocab": 10_048}},
        "coarse": {"gpt": size | {"input_vocab": 12_096, "output_vocab": 12_096}},
        "fine": {"gpt": size},
        "codec": {},
    })  # fmt: skip


@pytest.fixture(scope="session")
def suno_state(suno_config: BarkConfig) -> State:
    assert suno_config.codec == EncodecConfig()
    return random_model(suno_config).state_dict()


@pytest.fixture(scope="session")
def suno(tmp_path_factory: pytest.TempPathFactory, suno_state: State, suno_config: BarkConfig) -> Path:
    """Suno's layout, large, with Adam's state. Not to be changed."""
    return write_suno(tmp_path_factory.mktemp("suno"), suno_state, suno_config, "_2")
