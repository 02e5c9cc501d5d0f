"""Bark from end to end, on random tiny weights."""

import dataclasses
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile

from bark_jax import Bark, BarkConfig, Settings, Voice
from bark_jax.pipeline import EmptyGeneration, TokenError
from bark_jax.settings import SettingsError
from bark_jax.text import TextError, TextTruncated
from bark_jax.voice import VoiceError

SHORT = {"max_seconds": 1.5}


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(BarkConfig.tiny(), jax.random.key(0))


@pytest.fixture(scope="module")
def voice(bark: Bark) -> Voice:
    return bark.generate("A voice.", seed=5, max_seconds=3, allow_early_stop=False).as_voice()


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Collects the name of the event for every program compiled in the block."""
    events: list[str] = []

    def listen(event: str, duration: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield events
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_generation_is_complete_and_consistent(bark: Bark, tmp_path: Path) -> None:
    result = bark.generate("Hello, my dog is cute.", seed=1, allow_early_stop=False, **SHORT)
    assert len(result.semantic) == int(1.5 * 49.9)
    frames = 2 * int(len(result.semantic) * 75 / 49.9 * 2 / 2) // 2
    assert result.coarse.shape == (2, frames)
    assert result.fine.shape == (8, frames)
    np.testing.assert_array_equal(result.fine[:2], result.coarse)
    assert result.waveform.shape == (320 * frames,)
    assert result.waveform.dtype == np.float32
    assert result.waveform.std() > 0
    assert result.seconds == pytest.approx(frames / 75)
    assert set(result.timings) == {"semantic", "coarse", "fine", "codec"}
    result.save(tmp_path / "a.wav")
    samples, rate = soundfile.read(tmp_path / "a.wav")
    assert (len(samples), rate) == (len(result.waveform), 24_000)


def test_the_seed_decides(bark: Bark) -> None:
    first, again, other = (bark.generate("Hello", seed=s, **SHORT) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.waveform, again.waveform)
    assert not np.array_equal(first.semantic, other.semantic)


def test_without_a_seed_the_result_names_one_that_repeats_it(bark: Bark) -> None:
    result = bark.generate("Hello", **SHORT)
    np.testing.assert_array_equal(result.fine, bark.generate("Hello", seed=result.seed, **SHORT).fine)


def test_the_stages_in_a_row_are_generate(bark: Bark, voice: Voice) -> None:
    settings = Settings(semantic_top_k=50, coarse_top_p=0.9, **SHORT)
    whole = bark.generate("Hello", voice, seed=3, settings=settings)
    options = {"voice": voice, "seed": 3, "settings": settings}
    semantic = bark.text_to_semantic("Hello", **options)
    fine = bark.coarse_to_fine(bark.semantic_to_coarse(semantic, **options), **options)
    np.testing.assert_array_equal(bark.decode(fine), whole.waveform)


def test_watching_changes_nothing(bark: Bark, voice: Voice) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}
    options = {"seed": 4, "max_seconds": 15, "allow_early_stop": False}
    unwatched = bark.generate("Hello", voice, **options)
    watched = bark.generate("Hello", voice, **options, progress=lambda s, *n: seen.setdefault(s, []).append(n))
    np.testing.assert_array_equal(unwatched.waveform, watched.waveform)
    assert list(seen) == ["semantic", "coarse", "fine", "codec"]
    assert all(reports[-1][0] == reports[-1][1] for reports in seen.values())
    assert len(seen["fine"]) > 1


def test_a_second_call_compiles_nothing(bark: Bark, voice: Voice) -> None:
    bark.generate("Warm up.", voice, seed=0, **SHORT)
    bark.generate("Warm up.", seed=0, **SHORT)
    with compilations() as compiled:
        bark.generate("Another, longer text, and other settings", voice, seed=7, semantic_temperature=0.3)
        bark.generate("No voice", seed=8, coarse_temperature=0, fine_temperature=0, min_eos_p=0.9, max_seconds=4)
    assert compiled == []


def test_compilations_are_counted() -> None:
    with compilations() as compiled:
        jax.jit(lambda x: x + 41)(np.float32(1)).block_until_ready()
    assert compiled


def test_end_of_sequence_first_gives_an_empty_clip_and_a_warning(bark: Bark, tmp_path: Path) -> None:
    with pytest.warns(EmptyGeneration, match="another seed"):
        result = bark.generate("Hello", seed=0, min_eos_p=1e-9)
    assert result.waveform.shape == (0,)
    assert result.coarse.shape == (2, 0)
    assert result.fine.shape == (8, 0)
    result.save(tmp_path / "empty.wav")
    with pytest.raises(VoiceError):
        result.as_voice()


def test_temperature_zero_ignores_the_seed(bark: Bark) -> None:
    greedy = {"semantic_temperature": 0, "coarse_temperature": 0, "fine_temperature": 0, **SHORT}
    first, second = (bark.generate("Hello", seed=s, **greedy, min_eos_p=None) for s in (1, 2))
    np.testing.assert_array_equal(first.fine, second.fine)


def test_a_voice_changes_the_result_and_may_come_from_a_file(bark: Bark, voice: Voice, tmp_path: Path) -> None:
    voice.save(tmp_path / "mine.npz")
    from_file = bark.generate("Hello", str(tmp_path / "mine.npz"), seed=1, **SHORT)
    np.testing.assert_array_equal(from_file.fine, bark.generate("Hello", voice, seed=1, **SHORT).fine)
    assert not np.array_equal(from_file.semantic, bark.generate("Hello", seed=1, **SHORT).semantic)


def test_voices_of_a_recording(bark: Bark) -> None:
    codes = bark.encode(np.sin(np.arange(24_000) / 10).astype(np.float32))
    assert codes.shape == (8, 75)
    assert bark.decode(codes).shape == (24_000,)


def test_bfloat16_runs_with_a_float32_codec(bark: Bark) -> None:
    half = Bark.from_config(BarkConfig.tiny(), jax.random.key(0), dtype="bfloat16")
    result = half.generate("Hello", seed=1, **SHORT)
    assert result.waveform.dtype == np.float32
    np.testing.assert_allclose(half.decode(result.fine), bark.decode(result.fine), atol=1e-6)


def test_a_long_text_loses_its_end_with_a_warning(bark: Bark) -> None:
    with pytest.warns(TextTruncated):
        bark.text_to_semantic("word " * 300, settings=Settings(**SHORT))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda b: b.generate(" \n "), TextError, "empty"),
        (lambda b: b.generate("Hi", "en_speaker_3"), VoiceError, "en_speaker_3"),
        (lambda b: b.generate("Hi", semantic_temperature=-1), SettingsError, "semantic_temperature"),
        (lambda b: b.generate("Hi", coarse_top_k=0), SettingsError, "coarse_top_k"),
        (lambda b: b.generate("Hi", semantic_top_p=1.5), SettingsError, "semantic_top_p"),
        (lambda b: b.generate("Hi", min_eos_p=float("nan")), SettingsError, "min_eos_p"),
        (lambda b: b.generate("Hi", max_seconds=0), SettingsError, "max_seconds"),
        (lambda b: b.generate("Hi", coarse_history=59), SettingsError, "coarse_history"),
        (lambda b: b.generate("Hi", temprature=1), SettingsError, "temprature"),
        (lambda b: b.semantic_to_coarse(np.array([[1]])), TokenError, "semantic tokens"),
        (lambda b: b.semantic_to_coarse(np.array([200])), TokenError, "199"),
        (lambda b: b.coarse_to_fine(np.zeros((3, 4), int)), TokenError, "coarse codes"),
        (lambda b: b.coarse_to_fine(np.zeros((2, 4))), TokenError, "float64"),
        (lambda b: b.decode(np.full((8, 4), -1)), TokenError, "-1"),
    ],
)
def test_bad_input_is_named(bark: Bark, call: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(bark)


def test_a_checkpoints_own_settings_are_the_defaults() -> None:
    tiny = BarkConfig.tiny()
    config = dataclasses.replace(tiny, semantic=dataclasses.replace(tiny.semantic, temperature=0.4, min_eos_p=0.1))
    settings = Settings.defaults(config)
    assert (settings.semantic_temperature, settings.min_eos_p) == (0.4, 0.1)


def test_generation_warns_of_nothing_else(bark: Bark) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bark.generate("Hello", seed=1, **SHORT)
