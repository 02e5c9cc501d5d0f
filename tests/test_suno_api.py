"""Suno's functions: its documented scripts run, and give what `Bark` gives."""

import dataclasses
import inspect
import itertools
import secrets
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from scipy.io import wavfile

from bark_jax import Bark, BarkConfig, Settings, Voice, suno
from bark_jax.checkpoint import CheckpointError
from bark_jax.config import ConfigError
from bark_jax.generation import EmptyGeneration
from bark_jax.inputs import TokenError
from bark_jax.settings import SettingsError
from bark_jax.suno import (
    SAMPLE_RATE,
    codec_decode,
    generate_audio,
    generate_coarse,
    generate_fine,
    generate_text_semantic,
    loading,
    preload_models,
    save_as_prompt,
    semantic_to_waveform,
    text_to_semantic,
)
from bark_jax.suno.cli import main
from bark_jax.suno.history import read_history
from bark_jax.text import TextError, TextTruncated
from bark_jax.voices.voice import VoiceError

STAGE = {"temp": 0.7, "top_k": None, "top_p": None, "silent": False}
SAYING = {"silent": False, "output_full": False}
SIGNATURES = {
    "text_to_semantic": {"text": ..., "history_prompt": None, "temp": 0.7, "silent": False},
    "semantic_to_waveform": {"semantic_tokens": ..., "history_prompt": None, "temp": 0.7, **SAYING},
    "generate_audio": {"text": ..., "history_prompt": None, "text_temp": 0.7, "waveform_temp": 0.7, **SAYING},
    "save_as_prompt": {"filepath": ..., "full_generation": ...},
    "generate_text_semantic": {
        "text": ..., "history_prompt": None, **STAGE, "min_eos_p": 0.2, "max_gen_duration_s": None,
        "allow_early_stop": True, "use_kv_caching": False,
    },
    "generate_coarse": {
        "x_semantic": ..., "history_prompt": None, **STAGE, "max_coarse_history": 630, "sliding_window_len": 60,
        "use_kv_caching": False,
    },
    "generate_fine": {"x_coarse_gen": ..., "history_prompt": None, "temp": 0.5, "silent": True},
    "codec_decode": {"fine_tokens": ...},
    "preload_models": {
        "text_use_gpu": True, "text_use_small": False, "coarse_use_gpu": True, "coarse_use_small": False,
        "fine_use_gpu": True, "fine_use_small": False, "codec_use_gpu": True, "force_reload": False,
    },
}  # fmt: skip
USE_GPU = ("text_use_gpu", "coarse_use_gpu", "fine_use_gpu", "codec_use_gpu")
USE_SMALL = ("text_use_small", "coarse_use_small", "fine_use_small")


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(BarkConfig.tiny(), jax.random.key(0))


@pytest.fixture(autouse=True)
def tiny_model(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test begins with the tiny model loaded, seeds to draw, and an environment that says nothing."""
    seeds = itertools.count(1)
    monkeypatch.setattr(secrets, "randbits", lambda bits: next(seeds))
    monkeypatch.setattr(loading, "_slot", loading._Slot())
    monkeypatch.delenv("SUNO_USE_SMALL_MODELS", raising=False)
    monkeypatch.delenv("SUNO_OFFLOAD_CPU", raising=False)
    preload_models(model=bark)


@pytest.fixture(scope="module")
def prompt(bark: Bark) -> dict[str, np.ndarray]:
    """A voice as Suno's users have it."""
    spoken = bark.generate("A voice.", seed=5, max_seconds=3, allow_early_stop=False)
    return {"semantic_prompt": spoken.semantic, "coarse_prompt": spoken.coarse, "fine_prompt": spoken.fine}


@pytest.fixture
def loads(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Nothing is loaded; what would be is listed here."""
    listed: list[tuple[str, dict[str, Any]]] = []

    def from_pretrained(source: str, **options: Any) -> Bark:
        options.pop("progress")
        listed.append((source, options))
        return Bark(bark.config, {n: getattr(bark, n) for n in ("semantic", "coarse", "fine", "codec")}, bark.tokenizer)

    monkeypatch.setattr(loading, "_slot", loading._Slot())
    monkeypatch.setattr(Bark, "from_pretrained", from_pretrained)
    return listed


@pytest.mark.parametrize("name", SIGNATURES)
def test_arguments_and_defaults_are_sunos(name: str) -> None:
    parameters = inspect.signature(getattr(suno, name)).parameters.values()
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert {p.name: ... if p.default is p.empty else p.default for p in positional} == SIGNATURES[name]
    assert [p.name for p in positional] == list(SIGNATURES[name])
    added = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    expected = {"preload_models": {"model": None}, "save_as_prompt": {}, "codec_decode": {}}
    assert added == expected.get(name, {"seed": None})


def test_the_readmes_script(tmp_path: Path) -> None:
    preload_models(model="random:tiny")
    audio_array = generate_audio("Hello, my name is Suno. And, uh — and I like pizza. [laughs]\n  But not only.")
    wavfile.write(tmp_path / "bark_generation.wav", SAMPLE_RATE, audio_array)
    rate, samples = wavfile.read(tmp_path / "bark_generation.wav")
    assert (rate, samples.dtype, len(samples)) == (24_000, np.float32, len(audio_array))


def test_the_notebooks_long_form(prompt: dict[str, np.ndarray]) -> None:
    silence = np.zeros(int(0.25 * SAMPLE_RATE))
    pieces = []
    for sentence in ["Hey, have you heard?", "It says it is a model."]:
        tokens = generate_text_semantic(sentence, history_prompt=prompt, temp=0.6, min_eos_p=0.05, max_gen_duration_s=1)
        pieces += [semantic_to_waveform(tokens, history_prompt=prompt), silence.copy()]
    assert np.concatenate(pieces).ndim == 1
    assert all(len(piece) > 0 for piece in pieces)


def test_a_full_generation_is_saved_and_spoken_with(tmp_path: Path) -> None:
    semantic = generate_text_semantic("A voice.", max_gen_duration_s=2, allow_early_stop=False)
    full_generation, audio_array = semantic_to_waveform(semantic, output_full=True)
    filepath = str(tmp_path / "mine.npz")
    save_as_prompt(filepath, full_generation)
    with np.load(filepath) as saved:
        assert set(saved) == set(full_generation)
        assert all(np.array_equal(saved[key], full_generation[key]) for key in saved)
        spoken = [text_to_semantic("Hi", history_prompt=h, seed=1) for h in (filepath, full_generation, saved)]
    np.testing.assert_array_equal(spoken[0], spoken[1])
    np.testing.assert_array_equal(spoken[0], spoken[2])
    assert not np.array_equal(spoken[0], text_to_semantic("Hi", seed=1))
    assert audio_array.shape == (320 * full_generation["fine_prompt"].shape[1],)


def test_voices_have_names(bark: Bark, prompt: dict[str, np.ndarray], tmp_path: Path) -> None:
    (tmp_path / "v2").mkdir()
    save_as_prompt(tmp_path / "v2" / "en_speaker_1.npz", prompt)
    networks = {name: getattr(bark, name) for name in ("semantic", "coarse", "fine", "codec")}
    preload_models(model=Bark(bark.config, networks, bark.tokenizer, voice_folder=tmp_path))
    options = {"seed": 1, "max_gen_duration_s": 1}
    named = generate_text_semantic("Hello", history_prompt="v2/en_speaker_1", **options)
    np.testing.assert_array_equal(named, generate_text_semantic("Hello", history_prompt=prompt, **options))


def test_shapes_and_dtypes_are_sunos() -> None:
    full_generation, audio_array = generate_audio("Hello", output_full=True)
    semantic, coarse, fine = (full_generation[f"{stage}_prompt"] for stage in ("semantic", "coarse", "fine"))
    frames = int(len(semantic) * 75 / 49.9)
    assert (semantic.dtype, coarse.dtype, fine.dtype, audio_array.dtype) == (np.int64, np.int32, np.int32, np.float32)
    assert (coarse.shape, fine.shape, audio_array.shape) == ((2, frames), (8, frames), (320 * frames,))
    np.testing.assert_array_equal(fine[:2], coarse)
    np.testing.assert_array_equal(audio_array, codec_decode(fine))


def test_stages_are_barks(bark: Bark, prompt: dict[str, np.ndarray]) -> None:
    settings = Settings(
        semantic_temperature=0.6, semantic_top_k=50, semantic_top_p=0.95, min_eos_p=0.9, max_seconds=4,
        coarse_temperature=0.8, coarse_top_k=40, coarse_top_p=0.9, coarse_history=120, fine_temperature=0.4,
    )  # fmt: skip
    ours = bark.generate("Hello", prompt, seed=3, settings=settings)
    semantic = generate_text_semantic(
        "Hello", prompt, 0.6, 50, 0.95, True, 0.9, 4 - 1 / 49.9, use_kv_caching=True, seed=3
    )
    coarse = generate_coarse(semantic, prompt, 0.8, 40, 0.9, True, max_coarse_history=120, use_kv_caching=True, seed=3)
    fine = generate_fine(coarse, prompt, 0.4, seed=3)
    np.testing.assert_array_equal(semantic, ours.semantic)
    np.testing.assert_array_equal(coarse, ours.coarse)
    np.testing.assert_array_equal(fine, ours.fine)
    np.testing.assert_array_equal(codec_decode(fine), ours.waveform)


def test_the_whole_is_barks(bark: Bark, prompt: dict[str, np.ndarray]) -> None:
    ours = bark.generate("Hello", prompt, seed=4, semantic_temperature=0.5, coarse_temperature=0.6)
    options = {"history_prompt": prompt, "text_temp": 0.5, "waveform_temp": 0.6, "seed": 4}
    full_generation, audio_array = generate_audio("Hello", **options, silent=True, output_full=True)
    np.testing.assert_array_equal(full_generation["fine_prompt"], ours.fine)
    np.testing.assert_array_equal(audio_array, ours.waveform)
    np.testing.assert_array_equal(generate_audio("Hello", **options), ours.waveform)


def test_without_a_seed_calls_differ() -> None:
    first, second = (text_to_semantic("Hello", seed=seed) for seed in (None, -1))
    assert not np.array_equal(first, second)


def test_temperatures_of_nothing_and_zero_are_greedy() -> None:
    coarse = np.arange(40).reshape(2, 20)
    outputs = [generate_fine(coarse, temp=temp) for temp in (None, 0, 0)]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[1], outputs[2])


@pytest.mark.parametrize("seconds", [-1, 0, 1e-6, 0.1, 1 / 49.9, 10 / 49.9, 0.3, 1.5, 15.3, 100])
def test_the_token_that_exceeds_the_duration_is_the_last(seconds: float) -> None:
    spoken, tokens = 0.0, 0
    while tokens == 0 or (spoken <= seconds and tokens < 768):
        spoken, tokens = spoken + 1 / 49.9, tokens + 1
    assert len(generate_text_semantic("Hi", max_gen_duration_s=seconds, allow_early_stop=False)) == tokens


def test_a_warning_of_an_empty_clip(tmp_path: Path) -> None:
    with pytest.warns(EmptyGeneration, match="another seed"):
        semantic = generate_text_semantic("Hello", min_eos_p=1e-9)
    full_generation, audio_array = semantic_to_waveform(semantic, output_full=True)
    assert audio_array.shape == (0,)
    with pytest.raises(VoiceError, match="semantic_prompt is empty"):
        save_as_prompt(tmp_path / "empty.npz", full_generation)
    assert list(tmp_path.iterdir()) == []


def test_a_long_text_is_cut_with_a_warning() -> None:
    with pytest.warns(TextTruncated, match="split the text"):
        generate_text_semantic("word " * 200, max_gen_duration_s=1)


@pytest.mark.parametrize("silent", [False, True])
def test_silence_is_without_bars(capsys: pytest.CaptureFixture[str], silent: bool) -> None:
    generate_audio("Hello", silent=silent)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all((stage in captured.err) != silent for stage in ("semantic", "coarse", "fine"))


@pytest.mark.parametrize(
    ("suno", "ours"),
    [
        ({"min_eos_p": 2}, {"min_eos_p": None}),
        ({"min_eos_p": float("nan")}, {"min_eos_p": None}),
        ({"allow_early_stop": 1, "min_eos_p": 0.006}, {"min_eos_p": 0.006}),
        ({"allow_early_stop": None, "min_eos_p": 0}, {"allow_early_stop": False}),
        ({"top_p": 0}, {"semantic_temperature": 0}),
        ({"top_p": -1}, {"semantic_temperature": 0}),
        ({"top_p": 1.5}, {}),
        ({"top_p": float("nan")}, {}),
        ({"temp": float("inf")}, {"semantic_temperature": 1e6}),
        ({"max_gen_duration_s": float("inf")}, {}),
        ({"use_kv_caching": "yes", "silent": 1}, {}),
    ],
)
def test_arguments_mean_what_they_mean_to_suno(bark: Bark, suno: dict[str, Any], ours: dict[str, Any]) -> None:
    """Also outside the ranges that the library keeps to."""
    expected = bark.text_to_semantic("Hello", seed=1, settings=Settings().replace(**ours))
    np.testing.assert_array_equal(generate_text_semantic("Hello", seed=1, **suno), expected)


@pytest.mark.parametrize("probability", [0, 0.0, -1])
def test_every_probability_of_the_end_is_enough(probability: float) -> None:
    with pytest.warns(EmptyGeneration):
        tokens = generate_text_semantic("Hello", min_eos_p=probability)
    assert (tokens.shape, tokens.dtype) == ((0,), np.int64)


@pytest.mark.parametrize("dtype", ["uint16", "int64", "float16", "float64"])
def test_whole_numbers_of_any_dtype_are_tokens(prompt: dict[str, np.ndarray], dtype: str) -> None:
    cast = {name: array.astype(dtype) for name, array in prompt.items()}
    for call in (
        lambda p: generate_text_semantic("Hello", p, seed=1, max_gen_duration_s=0.1),
        lambda p: generate_coarse(p["semantic_prompt"], p, seed=1),
        lambda p: generate_fine(p["coarse_prompt"], p, seed=1),
        lambda p: codec_decode(p["fine_prompt"]),
    ):
        np.testing.assert_array_equal(call(cast), call(prompt))


def test_a_stage_needs_only_the_arrays_that_it_reads(prompt: dict[str, np.ndarray], tmp_path: Path) -> None:
    """From files and dicts alike; the others may be missing, or unfit."""
    semantic, coarse = (prompt[f"{name}_prompt"] for name in ("semantic", "coarse"))
    calls: list[tuple[tuple[str, ...], Callable[[Any], np.ndarray]]] = [
        (("semantic_prompt",), lambda p: generate_text_semantic("Hello", p, seed=1, max_gen_duration_s=0.1)),
        (("semantic_prompt", "coarse_prompt"), lambda p: generate_coarse(semantic[:9], p, seed=1)),
        (("fine_prompt",), lambda p: generate_fine(coarse[:, :9], p, seed=1)),
    ]
    for read, call in calls:
        part = {name: prompt[name] for name in read}
        np.savez(tmp_path / "part.npz", **part)
        unfit = part | {name: np.full((3, 3), 0.5) for name in prompt if name not in read}
        for history in (part, unfit, str(tmp_path / "part.npz")):
            np.testing.assert_array_equal(call(history), call(prompt))


def test_no_history_has_a_name_and_processors_wrap_theirs(prompt: dict[str, np.ndarray]) -> None:
    options = {"seed": 1, "max_gen_duration_s": 0.5}
    expected = {h: generate_text_semantic("Hello", p, **options) for h, p in (("none", None), ("wrapped", prompt))}
    np.testing.assert_array_equal(generate_text_semantic("Hello", "none", **options), expected["none"])
    wrapped = generate_text_semantic("Hello", {"input_ids": [1], "history_prompt": prompt}, **options)
    np.testing.assert_array_equal(wrapped, expected["wrapped"])


def test_coarse_codes_of_another_voice(prompt: dict[str, np.ndarray], tmp_path: Path) -> None:
    """They need not be the beginning of the fine ones, in files either."""
    mixed = prompt | {"coarse_prompt": prompt["coarse_prompt"][:, ::-1]}
    save_as_prompt(tmp_path / "mixed.npz", mixed)
    spoken = [generate_coarse(np.arange(9), h, seed=1) for h in (mixed, tmp_path / "mixed.npz")]
    np.testing.assert_array_equal(spoken[0], spoken[1])
    read = read_history(mixed, "coarse", loading.loaded_model())
    assert isinstance(read, Voice)
    np.testing.assert_array_equal(read.coarse, mixed["coarse_prompt"])


def test_a_full_generation_with_other_entries(prompt: dict[str, np.ndarray], tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="without text"):
        save_as_prompt(tmp_path / "mine.npz", prompt | {"text": np.array("Hello")})
    with np.load(tmp_path / "mine.npz") as saved:
        assert set(saved) == set(prompt)


@pytest.mark.parametrize("given", [1, 3, 7])
def test_fine_codes_from_other_numbers_of_codebooks(prompt: dict[str, np.ndarray], given: int) -> None:
    codes = prompt["fine_prompt"][:given, :40]
    fine = generate_fine(codes, temp=None)
    assert fine.shape == (8, 40)
    np.testing.assert_array_equal(fine[:given], codes)


def test_nothing_is_spoken_with_an_unfit_history(
    prompt: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bark, "text_to_semantic", lambda *_, **__: pytest.fail("the history was not checked first"))
    with pytest.raises(VoiceError, match="lacks fine_prompt"):
        generate_audio("Hello", {name: prompt[name] for name in ("semantic_prompt", "coarse_prompt")})


BAD_INPUT: list[tuple[Callable[[dict[str, Any]], object], type[ValueError], str]] = [
    (lambda p: generate_audio("  "), TextError, "empty"),
    (lambda p: text_to_semantic(None), TextError, "NoneType"),
    (lambda p: generate_audio("Hi", text_temp=-1), SettingsError, "semantic_temperature"),
    (lambda p: generate_audio("Hi", history_prompt="v2/en_speaker_77"), VoiceError, "v2/en_speaker_7"),
    (lambda p: generate_audio("Hi", history_prompt="missing.npz"), VoiceError, "missing.npz"),
    (lambda p: generate_audio("Hi", history_prompt={"semantic_prompt": [1]}), VoiceError, "lacks coarse_prompt"),
    (lambda p: generate_audio("Hi", history_prompt=7), VoiceError, "not int"),
    (lambda p: text_to_semantic("Hi", seed=-2), SettingsError, "seed"),
    (lambda p: generate_text_semantic("Hi", top_k=0), SettingsError, "top_k"),
    (lambda p: generate_text_semantic("Hi", max_gen_duration_s="1"), SettingsError, "seconds"),
    (lambda p: generate_text_semantic("Hi", min_eos_p="2"), SettingsError, "min_eos_p"),
    (lambda p: generate_text_semantic("Hi", top_p="0.9"), SettingsError, "top_p"),
    (lambda p: generate_text_semantic("Hi", p | {"semantic_prompt": np.zeros(0, int)}), VoiceError, "prompt is empty"),
    (lambda p: generate_text_semantic("Hi", p | {"semantic_prompt": np.array([0.5])}), VoiceError, "float64"),
    (lambda p: generate_text_semantic("Hi", p | {"semantic_prompt": np.array([200])}), VoiceError, "0 … 199"),
    (lambda p: generate_coarse(np.array([1]), {"semantic_prompt": p["semantic_prompt"]}), VoiceError, "lacks coarse"),
    (lambda p: generate_coarse(np.array([1]), p | {"coarse_prompt": np.zeros((2, 9))}), VoiceError, "ratio"),
    (lambda p: generate_coarse(np.array([1.5])), TokenError, "float64"),
    (lambda p: generate_fine(np.ones((2, 4)), {"coarse_prompt": p["coarse_prompt"]}), VoiceError, "lacks fine_prompt"),
    (lambda p: generate_coarse(np.array([[1]])), TokenError, "semantic tokens"),
    (lambda p: generate_coarse(np.array([1]), max_coarse_history=59), SettingsError, "60 … 630"),
    (lambda p: generate_coarse(np.array([1]), sliding_window_len=140), SettingsError, "at most 768"),
    (lambda p: generate_coarse(np.array([1]), sliding_window_len=0), SettingsError, "sliding_window_len"),
    (lambda p: semantic_to_waveform(np.array([10_000])), TokenError, "10000"),
    (lambda p: semantic_to_waveform(np.array([1]), temp=None), SettingsError, "coarse_temperature"),
    (lambda p: generate_fine(np.zeros((8, 4), int)), TokenError, "1 … 7 codebooks"),
    (lambda p: codec_decode(np.zeros((9, 4), int)), TokenError, "codebooks"),
    (lambda p: save_as_prompt("mine.wav", p), VoiceError, r"mine.wav: its name must end in \.npz"),
    (lambda p: save_as_prompt("no/such/folder/mine.npz", p), VoiceError, "no/such/folder"),
    (lambda p: save_as_prompt("mine.npz", (p, np.zeros(1))), VoiceError, "not tuple"),
    (lambda p: save_as_prompt("mine.npz", p | {"fine_prompt": np.full((8, 2), 0.5)}), VoiceError, "float64"),
    (lambda p: save_as_prompt("mine.npz", {k: p[k] for k in ("fine_prompt",)}), VoiceError, "lacks semantic_prompt"),
]


@pytest.mark.parametrize(("call", "error", "message"), BAD_INPUT)
def test_bad_input_is_named(
    call: Callable[[dict[str, Any]], object], error: type[ValueError], message: str,
    prompt: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        call(prompt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "environment", "source", "options"),
    [
        ({}, {}, "suno/bark", {"offload": False}),
        ({}, {"SUNO_USE_SMALL_MODELS": "True"}, "suno/bark-small", {"offload": False}),
        ({}, {"SUNO_USE_SMALL_MODELS": "0", "SUNO_OFFLOAD_CPU": ""}, "suno/bark", {"offload": False}),
        ({}, {"SUNO_OFFLOAD_CPU": "1"}, "suno/bark", {"offload": True}),
        (dict.fromkeys(USE_SMALL, True), {}, "suno/bark-small", {"offload": False}),
        ({"text_use_small": True}, {"SUNO_USE_SMALL_MODELS": "t"}, "suno/bark-small", {"offload": False}),
        ({"model": Path("mine")}, {"SUNO_USE_SMALL_MODELS": "1"}, "mine", {"offload": False}),
        ({"codec_use_gpu": False}, {}, "suno/bark", {"offload": False}),  # where there is none
    ],
)
def test_what_is_loaded(
    loads: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any], environment: dict[str, str], source: str, options: dict[str, Any],
) -> None:  # fmt: skip
    for name, value in environment.items():  # after the import
        monkeypatch.setenv(name, value)
    preload_models(**arguments)
    assert loads == [(source, options)]


def test_stages_of_two_sizes(loads: list[tuple[str, dict[str, Any]]], bark: Bark) -> None:
    preload_models(coarse_use_small=True)
    assert [source for source, _ in loads] == ["suno/bark", "suno/bark-small"]
    preload_models(coarse_use_small=True)
    assert len(loads) == 2
    assert loading.loaded_model().config == bark.config
    generate_text_semantic("Hello", max_gen_duration_s=0.1)


def test_the_first_call_loads(loads: list[tuple[str, dict[str, Any]]]) -> None:
    generate_text_semantic("Hello", max_gen_duration_s=0.1)
    codec_decode(np.zeros((8, 2), int))
    assert loads == [("suno/bark", {"offload": False})]


def test_threads_load_once(loads: list[tuple[str, dict[str, Any]]]) -> None:
    threads = [threading.Thread(target=codec_decode, args=[np.zeros((8, 2), int)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1


def test_a_loaded_model_stays_until_another_is_asked_for(loads: list[tuple[str, dict[str, Any]]]) -> None:
    preload_models(model="mine")
    preload_models(model="mine")
    preload_models()
    assert len(loads) == 1
    preload_models(model="mine", force_reload=True)
    preload_models(model="another")
    preload_models(**dict.fromkeys(USE_SMALL, True))
    preload_models(force_reload=True)
    assert [source for source, _ in loads] == ["mine", "mine", "another", "suno/bark-small", "suno/bark"]


def test_a_model_that_does_not_load_leaves_the_old_one(bark: Bark, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no Bark checkpoint"):
        preload_models(model=tmp_path)
    with pytest.raises(ConfigError, match="huge"):
        preload_models(model="random:huge")
    assert loading.loaded_model() is bark


def test_the_cpu_may_be_asked_for(bark: Bark) -> None:
    preload_models(model="random:tiny", **dict.fromkeys(USE_GPU, False))
    assert loading.loaded_model().mesh.devices.flat[0].platform == "cpu"
    ours = bark.generate("Hello", seed=1)
    full_generation, _ = generate_audio("Hello", seed=1, output_full=True)
    np.testing.assert_array_equal(full_generation["fine_prompt"], ours.fine)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"codec_use_gpu": False}, "text_use_gpu=True, .*codec_use_gpu=False"),
        ({"model": "random:tiny", "fine_use_small": True}, "not both"),
    ],
)
def test_models_that_cannot_be_had(arguments: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(SettingsError, match=message):
        preload_models(**arguments)


def test_a_bark_stays_on_its_devices(bark: Bark) -> None:
    with pytest.raises(SettingsError, match="stays on its devices"):
        preload_models(model=bark, **dict.fromkeys(USE_GPU, False))


def test_a_model_of_another_sample_rate(bark: Bark) -> None:
    config = dataclasses.replace(bark.config, codec=dataclasses.replace(bark.config.codec, sample_rate=16_000))
    with pytest.raises(SettingsError, match="16000 Hz"):
        preload_models(model=Bark.from_config(config, jax.random.key(0)))


def test_an_environment_that_is_not_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUNO_USE_SMALL_MODELS", "maybe")
    with pytest.raises(SettingsError, match=r"SUNO_USE_SMALL_MODELS: 'maybe' is none of true, t, yes, 1"):
        preload_models(force_reload=True)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of Suno's command line."""
    try:
        code = main(arguments)
    except SystemExit as exit_:  # argparse's own
        code = int(exit_.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


TINY = ["--model", "random:tiny", "--seed", "1"]


def test_the_command_line_speaks(bark: Bark, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["--text", "Hello", "--output_filename", "hello.wav", "--output_dir", str(tmp_path / "new" / "folder")]
    temperatures = ["--text_temp", "0.5", "--waveform_temp", "0.6"]
    code, out, err = run(capsys, *arguments, *temperatures, *TINY, "--output_full", "yes")
    assert (code, out) == (0, "")
    assert "hello.wav: " in err
    assert "seed 1" in err
    ours = bark.generate("Hello", seed=1, semantic_temperature=0.5, coarse_temperature=0.6)
    ours.save(tmp_path / "ours.wav")
    written = tmp_path / "new" / "folder" / "hello.wav"
    assert written.read_bytes() == (tmp_path / "ours.wav").read_bytes()
    with np.load(written.with_suffix(".npz")) as voice:
        np.testing.assert_array_equal(voice["fine_prompt"], ours.fine)


@pytest.mark.parametrize(
    ("flags", "silent", "full"),
    [
        ([], False, False),
        (["--silent"], True, False),
        (["--silent", "True"], True, False),
        (["--silent", "False", "--output_full"], False, True),
        (["--output_full", "1", "--silent", "no"], False, True),
        (["--output_full", "0", "--silent", "yes"], True, False),
    ],
)
def test_booleans_mean_what_they_say(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    flags: list[str], silent: bool, full: bool,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "--text", "Hi", *TINY, *flags)
    assert (code, err == "") == (0, silent)
    assert {path.name for path in tmp_path.iterdir()} == {"bark_generation.wav"} | (
        {"bark_generation.npz"} if full else set()
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "--text"),
        (["--text", " "], 2, "the text is empty"),
        (["--text", "Hi", "--silent", "maybe"], 2, "--silent"),
        (["--text", "Hi", "--text_temp", "-1"], 2, "semantic_temperature"),
        (["--text", "Hi", "--seed", "-2"], 2, "seed"),
        (["--text", "Hi", "--history_prompt", "v2/en_speaker_77"], 2, "v2/en_speaker_7"),
        (["--text", "Hi", "--output_dir", "new", "--output_filename", "hello.m4a"], 3, ".wav, .flac, .ogg"),
        (["--text", "Hi", "--output_dir", "/proc/nowhere"], 3, "/proc"),
        (["--text", "Hi", "--model", "random:huge"], 4, "huge"),
    ],
)
def test_the_command_line_fails_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    found, out, err = run(capsys, *TINY, *arguments)
    assert (found, out) == (code, "")
    assert message in err.strip().splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_warns_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, _, err = run(capsys, "--text", "word " * 200, *TINY, "--silent")
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith("warning: the text has")
