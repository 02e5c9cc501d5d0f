"""Bark from end to end, on random tiny weights."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import soundfile

from bark_jax import Bark, BarkConfig, Settings, Voice
from bark_jax.audio import AudioError
from bark_jax.generation import EmptyGeneration
from bark_jax.inputs import TokenError
from bark_jax.measuring import compilations
from bark_jax.settings import SettingsError
from bark_jax.stages import coarse, coarse_plan
from bark_jax.text import TextError, TextTruncated, TextWarning
from bark_jax.voices.voice import VoiceError

SHORT = {"max_seconds": 1.5}


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(BarkConfig.tiny(), jax.random.key(0))


@pytest.fixture(scope="module")
def voice(bark: Bark) -> Voice:
    return bark.generate("A voice.", seed=5, max_seconds=3, allow_early_stop=False).as_voice()


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
    options = {"allow_early_stop": False, **SHORT}
    result = bark.generate("Hello", **options)
    np.testing.assert_array_equal(result.fine, bark.generate("Hello", seed=result.seed, **options).fine)


def test_the_stages_in_a_row_are_generate(bark: Bark, voice: Voice) -> None:
    settings = Settings(semantic_top_k=50, coarse_top_p=0.9, fine_temperature=0.9)
    options = {"voice": voice, "seed": 3, "settings": settings, "fine_temperature": 0.4, **SHORT}
    whole = bark.generate("Hello", **options)
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
    other = bark.generate("Warm up.", seed=0, max_seconds=4, allow_early_stop=False)
    bark.generate("Warm up with a voice.", other, seed=0, max_seconds=1)
    with compilations() as compiled:
        bark.generate("Another, longer text, and other settings", voice, seed=7, semantic_temperature=0.3)
        bark.generate("Another voice, somebody watches", other, seed=7, progress=lambda *_: None)
        bark.generate("No voice", seed=8, coarse_temperature=0, fine_temperature=0, min_eos_p=0.9, max_seconds=4)
    assert compiled == []


def test_compilations_are_counted() -> None:
    with compilations() as compiled:
        jax.jit(lambda x: x + 41)(np.float32(1)).block_until_ready()
    assert compiled


def test_a_saved_clip_is_a_voice_by_its_name(bark: Bark) -> None:
    clip = bark.generate("A voice.", seed=5, allow_early_stop=False, **SHORT)
    clip.save_voice("me", language="en")
    assert bark.voices() == ["me"]
    named, given = (bark.generate("Hello", voice, seed=1, **SHORT) for voice in ("me", clip))
    np.testing.assert_array_equal(named.fine, given.fine)


def test_end_of_sequence_first_gives_an_empty_clip_and_a_warning(bark: Bark, tmp_path: Path) -> None:
    with pytest.warns(EmptyGeneration, match="another seed"):
        result = bark.generate("Hello", seed=0, min_eos_p=1e-9)
    assert result.waveform.shape == (0,)
    assert result.coarse.shape == (2, 0)
    assert result.fine.shape == (8, 0)
    result.save(tmp_path / "empty.wav")
    with pytest.raises(VoiceError):
        result.as_voice()
    with pytest.warns(EmptyGeneration, match="another seed"):
        assert bark.text_to_semantic("Hello", settings=Settings(min_eos_p=1e-9)).shape == (0,)


@pytest.mark.parametrize("seconds", [0.03, 1e308])
def test_any_maximal_duration_is_some_number_of_tokens(bark: Bark, seconds: float) -> None:
    settings = Settings(max_seconds=seconds, allow_early_stop=False)
    assert len(bark.text_to_semantic("Hello", settings=settings)) == (1 if seconds < 1 else 768)


def test_temperature_zero_ignores_the_seed(bark: Bark) -> None:
    greedy = {"semantic_temperature": 0, "coarse_temperature": 0, "fine_temperature": 0, **SHORT}
    first, second = (bark.generate("Hello", seed=s, **greedy, min_eos_p=None) for s in (1, 2))
    np.testing.assert_array_equal(first.fine, second.fine)


def test_a_voice_changes_the_result_and_may_come_from_a_file(bark: Bark, voice: Voice, tmp_path: Path) -> None:
    voice.save(tmp_path / "mine.npz")
    from_file = bark.generate("Hello", str(tmp_path / "mine.npz"), seed=1, **SHORT)
    np.testing.assert_array_equal(from_file.fine, bark.generate("Hello", voice, seed=1, **SHORT).fine)
    assert not np.array_equal(from_file.semantic, bark.generate("Hello", seed=1, **SHORT).semantic)


def test_a_voice_may_be_a_generation_or_a_dict(bark: Bark) -> None:
    spoken = bark.generate("A voice.", seed=5, max_seconds=3, allow_early_stop=False)
    arrays = {"semantic_prompt": spoken.semantic, "coarse_prompt": spoken.coarse, "fine_prompt": spoken.fine}
    first, second = (bark.generate("Hello", source, seed=1, **SHORT) for source in (spoken, arrays))
    np.testing.assert_array_equal(first.fine, second.fine)


def test_extending_the_cache_equals_prefilling_every_window(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    semantic = bark.text_to_semantic("Hello", settings=Settings(max_seconds=9, allow_early_stop=False))
    extended = bark.semantic_to_coarse(semantic, seed=1)
    plan = coarse.plan_windows

    def without_reuse(*arguments: Any) -> coarse_plan.Plan:
        made = plan(*arguments)
        assert (made.action == coarse_plan.KEEP).sum() == 10  # windows at 60, 120, … 600 tokens
        return made._replace(action=np.where(made.action == coarse_plan.KEEP, coarse_plan.PREFILL_ALL, made.action))

    monkeypatch.setattr(coarse, "plan_windows", without_reuse)
    np.testing.assert_array_equal(bark.semantic_to_coarse(semantic, seed=1), extended)


def test_sizes_and_windows_come_from_the_config() -> None:
    """Every length, rate and count that is not a vocabulary differs from the published one."""
    tiny = BarkConfig.tiny()
    config = dataclasses.replace(
        tiny,
        semantic=dataclasses.replace(tiny.semantic, max_text=100, max_new=300, rate_hz=25.0),
        coarse=dataclasses.replace(
            tiny.coarse, codebooks=3, max_semantic=120, max_history=300, window=30, semantic_pad=395, infer=396,
            gpt=dataclasses.replace(tiny.coarse.gpt, input_vocab=400, output_vocab=400, block_size=450),
        ),
        fine=dataclasses.replace(
            tiny.fine, max_history=100, hop=150, gpt=dataclasses.replace(tiny.fine.gpt, codebooks=5, block_size=300)
        ),
        codec=dataclasses.replace(tiny.codec, codebooks=5, sample_rate=16_000, ratios=(5, 4, 4, 2)),
    )  # fmt: skip
    other = Bark.from_config(config, jax.random.key(0))
    first = other.generate("A voice", seed=1, allow_early_stop=False)
    second = other.generate("Hello", first, seed=2, allow_early_stop=False, max_seconds=9)
    assert (len(first.semantic), len(second.semantic)) == (300, 225)
    assert (first.coarse.shape, second.coarse.shape) == ((3, 1200), (3, 900))
    assert (second.fine.shape, second.waveform.shape) == ((5, 900), (144_000,))
    assert second.seconds == 9


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
        (lambda b: b.generate(b"Hi"), TextError, "not bytes"),
        (lambda b: b.generate(["Hi", None]), TextError, "not NoneType"),
        (lambda b: b.generate("Hi", settings={}), SettingsError, "not dict"),
        (lambda b: b.generate("Hi", "en_speaker_3"), VoiceError, "en_speaker_3"),
        (lambda b: b.generate("Hi", semantic_temperature=-1), SettingsError, "semantic_temperature"),
        (lambda b: b.generate("Hi", coarse_top_k=0), SettingsError, "coarse_top_k"),
        (lambda b: b.generate("Hi", semantic_top_p=1.5), SettingsError, "semantic_top_p"),
        (lambda b: b.generate("Hi", min_eos_p=float("nan")), SettingsError, "min_eos_p"),
        (lambda b: b.generate("Hi", max_seconds=0), SettingsError, "max_seconds"),
        (lambda b: b.generate("Hi", coarse_history=59), SettingsError, "coarse_history must be an integer in 60 … 630"),
        (lambda b: b.generate("Hi", coarse_temperature=1e39), SettingsError, "coarse_temperature"),
        (lambda b: b.generate("Hi", seed=2**32), SettingsError, "seed must be"),
        (lambda b: b.generate("Hi", seed=1.0), SettingsError, "seed must be"),
        (lambda b: b.text_to_semantic("Hi", seed=-2), SettingsError, "seed must be"),
        (lambda b: b.generate("Hi", 7), VoiceError, "not int"),
        (lambda b: b.generate("Hi", temprature=1), SettingsError, "temprature"),
        (lambda b: b.semantic_to_coarse(np.array([[1]])), TokenError, "semantic tokens"),
        (lambda b: b.semantic_to_coarse(np.array([200])), TokenError, "199"),
        (lambda b: b.coarse_to_fine(np.zeros((8, 4), int)), TokenError, "1 … 7 codebooks, not 8"),
        (lambda b: b.coarse_to_fine(np.zeros((2, 4))), TokenError, "float64"),
        (lambda b: b.decode(np.full((8, 4), -1)), TokenError, "-1"),
        (lambda b: b.decode(np.zeros((9, 4), int)), TokenError, "9"),
        (lambda b: b.encode(np.zeros((2, 99))), AudioError, "row of float samples"),
        (lambda b: b.encode(np.zeros(0)), AudioError, "row of float samples"),
        (lambda b: b.encode(np.zeros(99, np.int16)), AudioError, "int16"),
        (lambda b: b.encode(np.array([0, np.nan])), AudioError, "finite"),
        (lambda b: b.from_config(b.config, jax.random.key(0), dtype="int4"), ValueError, "int4"),
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


@pytest.mark.parametrize("call", ["text_to_semantic", "best_of"])
def test_marks_that_one_clip_does_not_obey_are_named_everywhere(bark: Bark, call: str) -> None:
    with pytest.warns(TextWarning, match=r"read out .*\[pause 2\]"):
        getattr(bark, call)("[pause 2] Hello.", seed=1, max_seconds=0.1)
