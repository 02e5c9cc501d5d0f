"""A batch on random tiny weights: every item is what it would be alone."""

import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import pytest

from bark_jax import Bark, BarkConfig, Generation, Settings, Voice
from bark_jax.generation import EmptyGeneration
from bark_jax.measuring import compilations
from bark_jax.settings import SettingsError
from bark_jax.stages import coarse, fine, semantic
from bark_jax.text import TextError
from bark_jax.voices.voice import VoiceError

BATCH, POOL = 3, 20

Item = dict[str, Any]
Spoken = tuple[Item, Generation]  # with what it gives alone


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_config(BarkConfig.tiny(), jax.random.key(0))


@pytest.fixture(scope="module")
def voices(bark: Bark) -> list[Voice]:
    return [bark.generate("A voice.", seed=5, max_seconds=s, allow_early_stop=False).as_voice() for s in (1, 8)]


@pytest.fixture(scope="module")
def pool(bark: Bark, voices: Sequence[Voice]) -> list[Spoken]:
    """Items of many kinds, and each of them spoken alone."""
    rng = np.random.default_rng(0)
    items = [random_item(rng, voices) for _ in range(POOL)]
    return [(item, speak(bark, **item)) for item in items]


def random_item(rng: np.random.Generator, voices: Sequence[Voice]) -> Item:
    def choose(*values: Any) -> Any:
        return values[rng.integers(len(values))]

    top_k, top_p = choose((None, None), (1, 0.5), (20, 0.9))
    settings = Settings(
        semantic_temperature=choose(0, 0.3, 0.7, 1.2), semantic_top_k=top_k, semantic_top_p=top_p,
        coarse_temperature=choose(0, 0.7), coarse_top_k=top_k, coarse_top_p=top_p, coarse_history=choose(None, 60),
        fine_temperature=choose(0, 0.5), max_seconds=rng.uniform(0.05, 7),
        min_eos_p=choose(None, 0.2, 0.008, 1e-9),  # never, rarely, soon, at once
        allow_early_stop=choose(False, True, True, True),
    )  # fmt: skip
    text = choose("Hi", "Hello, my dog is cute.", "word " * 50)
    return {"text": text, "voice": choose(None, *voices), "seed": int(rng.integers(2**32)), "settings": settings}


def speak(bark: Bark, **arguments: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmptyGeneration)
        return bark.generate(**arguments)


def speak_together(bark: Bark, items: Sequence[Spoken]) -> list[Generation]:
    return speak(bark, **{name: [item[name] for item, _ in items] for name in items[0][0]})


def assert_same(ours: Generation, alone: Generation) -> None:
    assert (ours.text, ours.seed) == (alone.text, alone.seed)
    for name in ("semantic", "coarse", "fine"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(alone, name), err_msg=name)
    np.testing.assert_allclose(ours.waveform, alone.waveform, atol=1e-5)


def test_the_pool_has_items_of_all_kinds(pool: list[Spoken]) -> None:
    lengths = [len(alone.semantic) for _, alone in pool]
    assert 0 in lengths
    assert max(lengths) > 300
    assert len(set(lengths)) > 10


@pytest.mark.parametrize(
    ("mixtures", "sizes"), [(8, [BATCH]), pytest.param(100, [1, 2, BATCH, 5], marks=pytest.mark.slow)]
)
def test_every_item_is_what_it_would_be_alone(
    bark: Bark, pool: list[Spoken], mixtures: int, sizes: Sequence[int]
) -> None:
    rng = np.random.default_rng(mixtures)
    for _ in range(mixtures):
        items = [pool[i] for i in rng.integers(POOL, size=rng.choice(sizes))]
        for ours, (_, alone) in zip(speak_together(bark, items), items, strict=True):
            assert_same(ours, alone)


def test_positions_do_not_matter(bark: Bark, pool: list[Spoken]) -> None:
    by_length = sorted(pool, key=lambda item: len(item[1].semantic))
    for items in itertools.permutations([by_length[0], by_length[POOL // 2], by_length[-1]]):
        for ours, (_, alone) in zip(speak_together(bark, items), items, strict=True):
            assert_same(ours, alone)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How far the last run went: steps of the semantic and coarse loops as the device counted them, fine windows."""
    taken: dict[str, int] = {}

    def count(stage: Any, name: str, of: Callable[[Any, Any], Any]) -> None:
        def advance(*arguments: Any, original: Any = stage._advance, **options: Any) -> Any:
            result = original(*arguments, **options)
            taken[name] = int(of(arguments, result))
            return result

        monkeypatch.setattr(stage, "_advance", advance)

    count(semantic, "semantic", lambda _, state: state.step)
    count(coarse, "coarse", lambda _, state: state.step)
    count(fine, "fine", lambda arguments, _: arguments[7])  # the windows' end
    return taken


def test_rows_that_end_early_cost_no_more_than_the_longest(
    bark: Bark, pool: list[Spoken], steps: dict[str, int]
) -> None:
    def cost(items: Sequence[Spoken]) -> dict[str, int]:
        steps.update(semantic=0, coarse=0, fine=0)  # a stage without work is not begun
        speak_together(bark, items)
        return dict(steps)

    alone = [cost([item]) for item in pool[:12]]
    assert len({taken["semantic"] for taken in alone}) > 6
    for first in range(10):
        longest = {name: max(taken[name] for taken in alone[first : first + BATCH]) for name in alone[0]}
        assert cost(pool[first : first + BATCH]) == longest


def test_one_voice_seed_and_settings_serve_all(bark: Bark, voices: Sequence[Voice]) -> None:
    texts, options = ("One", "Two", "Two"), {"voice": voices[0], "seed": 7, "max_seconds": 1, "allow_early_stop": False}
    first, second, third = bark.generate(texts, **options)
    assert_same(second, third)
    assert_same(first, bark.generate("One", **options))
    assert first.timings == second.timings


def test_without_seeds_every_item_gets_its_own(bark: Bark) -> None:
    results = bark.generate(["Hello"] * BATCH, max_seconds=1, allow_early_stop=False, seed=[None, 3, None])
    assert results[1].seed == 3
    assert len({result.seed for result in results}) == BATCH


def test_a_second_batch_of_the_same_size_compiles_nothing(bark: Bark, voices: Sequence[Voice]) -> None:
    bark.generate(["Warm up."] * BATCH, [None, *voices], seed=0, max_seconds=1)
    with compilations() as compiled:
        bark.generate(["a", "b", "c"], [None, *voices], seed=[1, 2, 3], max_seconds=4, min_eos_p=0.9)
    assert compiled == []


def test_an_empty_batch_is_no_work(bark: Bark) -> None:
    assert bark.generate([]) == []


def test_only_the_empty_clip_is_warned_of(bark: Bark) -> None:
    settings = [Settings(min_eos_p=p, max_seconds=1) for p in (None, 1e-9, None)]
    with pytest.warns(EmptyGeneration, match="seed 8") as warned:
        results = bark.generate(["a", "b", "c"], seed=[7, 8, 9], settings=settings)
    assert len(warned) == 1
    assert [result.seconds > 0 for result in results] == [True, False, True]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"text": ["a", "b"], "voice": [None]}, ValueError, "voice has 1 values for 2 texts"),
        ({"text": ["a", "b"], "seed": (1, 2, 3)}, ValueError, "seed has 3 values for 2 texts"),
        ({"text": "a", "settings": [Settings(), Settings()]}, ValueError, "settings has 2 values for 1 texts"),
        ({"text": ["a", " "]}, TextError, "empty"),
        ({"text": ["a", "b"], "voice": [None, "en_speaker_3"]}, VoiceError, "en_speaker_3"),
        ({"text": ["a", "b"], "seed": [1, -2]}, SettingsError, "seed must be"),
        ({"text": ["a", "b"], "settings": [None, Settings(coarse_history=59)]}, SettingsError, "coarse_history"),
    ],
)
def test_bad_input_is_named(bark: Bark, arguments: Item, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        bark.generate(**arguments)
    if error is not ValueError:
        assert raised.value.__notes__ == ["This is about item 1 (counted from 0) of 2."]


def test_clips_own_their_memory(bark: Bark) -> None:
    """A view of the batch's arrays would keep all of them, and is read-only."""
    for result in bark.generate(["One", "Two"], seed=1, max_seconds=1, allow_early_stop=False):
        for array in (result.waveform, *result.tokens):
            assert array.base is None
            assert array.flags.writeable
