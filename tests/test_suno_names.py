"""The public names of Suno's modules: each answers and means the same, or its error names the replacement."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest

from bark_jax import Bark, BarkConfig
from bark_jax.models.encodec import Encodec
from bark_jax.models.fine_gpt import FineGPT
from bark_jax.models.gpt import GPT
from bark_jax.settings import SettingsError
from bark_jax.suno import generation, loading, preload_models

PACKAGE = ["SAMPLE_RATE", "generate_audio", "preload_models", "save_as_prompt", "semantic_to_waveform",
           "text_to_semantic"]  # fmt: skip
NAMES = {
    "": PACKAGE,
    ".api": ["codec_decode", "generate_audio", "generate_coarse", "generate_fine", "generate_text_semantic",
             "save_as_prompt", "semantic_to_waveform", "text_to_semantic"],
    ".cli": ["SAMPLE_RATE", "cli", "generate_audio"],
    ".generation": [
        "ALLOWED_PROMPTS", "CODEBOOK_SIZE", "COARSE_INFER_TOKEN", "COARSE_RATE_HZ", "COARSE_SEMANTIC_PAD_TOKEN",
        "CONTEXT_WINDOW_SIZE", "N_COARSE_CODEBOOKS", "N_FINE_CODEBOOKS", "OFFLOAD_CPU", "SAMPLE_RATE",
        "SEMANTIC_INFER_TOKEN", "SEMANTIC_PAD_TOKEN", "SEMANTIC_RATE_HZ", "SEMANTIC_VOCAB_SIZE", "SUPPORTED_LANGS",
        "TEXT_ENCODING_OFFSET", "TEXT_PAD_TOKEN", "USE_SMALL_MODELS", "clean_models", "codec_decode",
        "generate_coarse", "generate_fine", "generate_text_semantic", "load_codec_model", "load_model", "logger",
        "models", "models_devices", "preload_models",
    ],
}  # fmt: skip
ELSEWHERE = ["CACHE_DIR", "CUR_PATH", "FineGPT", "FineGPTConfig", "GLOBAL_ENABLE_MPS", "GPT", "GPTConfig",
             "InferenceContext", "REMOTE_MODEL_PATHS", "autocast", "default_cache_dir"]  # fmt: skip
VALUES = {
    "CODEBOOK_SIZE": 1024, "COARSE_INFER_TOKEN": 12_050, "COARSE_RATE_HZ": 75, "COARSE_SEMANTIC_PAD_TOKEN": 12_048,
    "CONTEXT_WINDOW_SIZE": 1024, "N_COARSE_CODEBOOKS": 2, "N_FINE_CODEBOOKS": 8, "SAMPLE_RATE": 24_000,
    "SEMANTIC_INFER_TOKEN": 129_599, "SEMANTIC_PAD_TOKEN": 10_000, "SEMANTIC_RATE_HZ": 49.9,
    "SEMANTIC_VOCAB_SIZE": 10_000, "TEXT_ENCODING_OFFSET": 10_048, "TEXT_PAD_TOKEN": 129_595,
}  # fmt: skip


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(BarkConfig.tiny(), jax.random.key(0))


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_slot", loading._Slot())
    for variable in loading.SWITCHES.values():
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def sources(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Sources of models that would be loaded."""
    asked: list[str] = []

    def from_pretrained(source: str, **_: Any) -> Bark:
        asked.append(source)
        return bark

    monkeypatch.setattr(Bark, "from_pretrained", from_pretrained)
    return asked


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in NAMES.items() for name in names])
def test_the_name_answers(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(f"bark_jax.suno{module}"), name)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_elsewhere_is_named(name: str) -> None:
    with pytest.raises(ImportError, match=f"has no {name}: [a-zA-Z`]"):
        exec(f"from bark_jax.suno.generation import {name}")


def test_other_names_are_unknown() -> None:
    assert not hasattr(generation, "anything")
    with pytest.raises(ImportError, match="cannot import name"):
        exec("from bark_jax.suno.generation import anything")


@pytest.mark.parametrize(("name", "value"), VALUES.items())
def test_constants_are_sunos(name: str, value: float) -> None:
    assert getattr(generation, name) == value
    assert type(getattr(generation, name)) is type(value)


def test_languages_and_voices_are_sunos() -> None:
    assert ("German", "de") in generation.SUPPORTED_LANGS
    assert len(generation.SUPPORTED_LANGS) == 13
    assert len(generation.ALLOWED_PROMPTS) == 1 + 13 * 20
    assert {"announcer", "tr_speaker_0", "v2/zh_speaker_9"} <= generation.ALLOWED_PROMPTS


@pytest.mark.parametrize(("name", "variable"), loading.SWITCHES.items())
def test_switches_are_the_environments(name: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert getattr(generation, name) is False
    monkeypatch.setenv(variable, "True")
    assert getattr(generation, name) is True


def test_models_are_the_loaded_ones(bark: Bark) -> None:
    assert "text" not in generation.models
    assert (dict(generation.models), dict(generation.models_devices)) == ({}, {})
    preload_models(model=bark)
    assert list(generation.models) == ["text", "coarse", "fine", "codec"]
    assert generation.models["text"] == {"model": bark.semantic, "tokenizer": bark.tokenizer}
    assert generation.models["fine"] is bark.fine
    assert set(generation.models_devices.values()) == {jax.default_backend()}
    with pytest.raises(KeyError):
        generation.models["semantic"]


def test_networks_are_loaded_once_and_together(bark: Bark, sources: list[str]) -> None:
    assert isinstance(generation.load_model(use_gpu=False)["model"], GPT)
    assert isinstance(generation.load_model(model_type="fine", use_small=True), FineGPT)
    assert isinstance(generation.load_codec_model(use_gpu=True), Encodec)
    assert sources == ["suno/bark"]
    generation.load_model(model_type="coarse", use_small=True, force_reload=True)
    assert sources == ["suno/bark", "suno/bark-small"]
    with pytest.raises(SettingsError, match="model_type must be text, coarse or fine, not 'codec'"):
        generation.load_model(model_type="codec")  # type: ignore[arg-type]


@pytest.mark.parametrize("key", [None, "text", "codec"])
def test_models_are_dropped_and_loaded_again(sources: list[str], key: str | None) -> None:
    generation.clean_models(key)
    preload_models(model="mine")
    generation.clean_models("nothing")
    assert generation.models
    generation.clean_models(key)
    assert not generation.models
    generation.codec_decode(np.zeros((8, 1), int))
    assert sources == ["mine", "mine"]


def test_a_bark_that_was_handed_over_is_let_go(bark: Bark, sources: list[str]) -> None:
    preload_models(model=bark)
    generation.clean_models()
    assert loading._slot.choice is None
    generation.load_codec_model()
    assert sources == ["suno/bark"]


def test_the_command_line_is_a_module() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "bark_jax.suno", "--help"], capture_output=True, text=True, check=True
    )
    assert "--output_filename" in result.stdout
