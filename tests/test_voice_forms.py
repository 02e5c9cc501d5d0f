"""The forms in which the three arrays of a voice are accepted."""

import collections
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from bark_jax import Bark
from bark_jax.voices.errors import VoiceAdjusted, VoiceError
from bark_jax.voices.voice import Voice, inspect_file

from voice_arrays import KEYS, TINY, Arrays, arrays, assert_same


def each(change: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    return {key: change(array) for key, array in arrays().items()}


def padded(array: np.ndarray, pad: int, count: int = 7) -> np.ndarray:
    return np.concatenate([array, np.full((*array.shape[:-1], count), pad, array.dtype)], axis=-1)


def pads() -> dict[str, np.ndarray]:
    values = {"semantic_prompt": TINY.semantic.pad, "coarse_prompt": TINY.fine.pad, "fine_prompt": TINY.fine.pad}
    return {key: padded(array, values[key]) for key, array in arrays().items()}


@pytest.mark.parametrize(
    ("values", "change"),
    [
        (each(lambda a: a[None]), "fine: a leading axis of 1 removed"),
        (each(lambda a: a[None, None]), "semantic: a leading axis of 1 removed"),
        (each(lambda a: a.astype(np.float32)), "semantic: float32 made integers"),
        (each(lambda a: a.astype(np.float64)[None]), "coarse: a leading axis of 1 removed, float64 made integers"),
        (each(lambda a: (a * 1.0).tolist()), "fine: float64 made integers"),
        (pads(), r"semantic: 7 pads \(200\) cut from the end; coarse: 7 pads \(64\) .*; fine: 7 pads \(64\)"),
        ({k: a[None] * 1.0 for k, a in pads().items()}, r"float64 made integers, 7 pads \(200\) cut from the end"),
        (arrays() | {"semantic_prompt": pads()["semantic_prompt"]}, r"^mine: semantic: 7 pads \(200\) cut"),
        ({k: a for k, a in arrays().items() if k != "coarse_prompt"}, "coarse: missing, the first 2 codebooks of fine"),
    ],
)  # fmt: skip
def test_usable_arrays_are_taken_and_changes_are_named(values: dict[str, Any], change: str) -> None:
    with pytest.warns(VoiceAdjusted, match=change) as warned:
        voice = Voice.from_arrays(values, TINY, name="mine")
    assert_same(voice, arrays())
    assert len(warned) == 1


class Processed(collections.UserDict[str, Any]):
    """Like transformers' BatchEncoding, which is a UserDict too."""


@pytest.mark.parametrize(
    "wrap",
    [
        lambda prompts: Processed(input_ids=[[1]], history_prompt=Processed(prompts)),
        lambda prompts: {"input_ids": [[1]], "history_prompt": dict(prompts)},
        lambda prompts: Processed(prompts),
    ],
)
@pytest.mark.parametrize("kind", ["numpy", "torch", "jax"])
def test_the_processors_output_is_taken_as_it_is(wrap: Callable[[Arrays], Mapping[str, Any]], kind: str) -> None:
    values: dict[str, Any] = arrays()
    if kind == "torch":
        torch = pytest.importorskip("torch")
        values = {key: torch.tensor(array) for key, array in values.items()}
    if kind == "jax":
        jnp = pytest.importorskip("jax.numpy")
        values = {key: jnp.asarray(array, np.int32) for key, array in values.items()}
    assert_same(Voice.from_arrays(wrap(values), TINY), arrays())


def test_tensors_with_gradients_are_taken() -> None:
    torch = pytest.importorskip("torch")
    values = {key: torch.tensor(array, dtype=torch.float32, requires_grad=True) for key, array in arrays().items()}
    with pytest.warns(VoiceAdjusted, match="float32 made integers"):
        assert_same(Voice.from_arrays(values, TINY), arrays())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"semantic_prompt": np.full(20, 4096, np.float16)}, "semantic has dtype float16"),  # rounded, perhaps
        ({"semantic_prompt": np.array([np.inf] * 20)}, "semantic has dtype float64"),
        ({"semantic_prompt": np.full(20, 200)}, r"semantic has shape \(0,\)"),  # nothing but pads
        ({"fine_prompt": np.zeros((2, 8, 30), int)}, r"fine has shape \(2, 8, 30\)"),  # two voices
        ({"history_prompt": "v2/en_speaker_6"}, "its history_prompt holds no arrays but a str"),
    ],
)
def test_other_forms_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(VoiceError, match=f"mine .*{message}"):  # and no warning, which would be an error
        Voice.from_arrays(arrays() | changes, TINY, name="mine")


@pytest.mark.parametrize(
    ("key", "message"),
    [("semantic_prompt", "nothing makes it from codes"), ("fine_prompt", "repair FILE --model MODEL")],
)
def test_what_cannot_be_derived_is_named_with_its_remedy(key: str, message: str) -> None:
    values = arrays()
    del values[key]
    with pytest.raises(VoiceError, match=rf"mine lacks {key} \(.*{message}"):
        Voice.from_arrays(values, TINY, name="mine")


@pytest.mark.parametrize("name", ["x_{}", "{}", "{}_PROMPT"])
def test_arrays_of_other_names_are_named(name: str) -> None:
    others = {name.format(key.removesuffix("_prompt")): array for key, array in arrays().items()}
    with pytest.raises(VoiceError, match=rf"lacks semantic_prompt, .*; it has '{name.format('semantic')}', "):
        Voice.from_arrays(others)


def test_a_model_makes_the_fine_codes_that_a_voice_lacks() -> None:
    bark = Bark.from_pretrained("random:tiny")
    values = arrays()
    whole = values | {"fine_prompt": bark.coarse_to_fine(values["coarse_prompt"], seed=0)}
    del values["fine_prompt"]
    with pytest.warns(VoiceAdjusted, match="fine: missing, made from coarse by the model's fine stage"):
        voice = bark.find_voice(values)
    assert_same(voice, whole)
    values["coarse_prompt"][0, 0] = 99
    with pytest.raises(VoiceError, match="coarse holds 99, the codebooks end at 63"):
        bark.find_voice(values)


def test_a_voice_with_pads_is_fitted_to_a_model() -> None:
    loose = Voice.from_arrays(pads())
    with pytest.warns(VoiceAdjusted, match="7 pads"):
        assert_same(loose.fitted(TINY), arrays())
    whole = Voice.from_arrays(arrays())
    assert whole.fitted(TINY) is whole


@pytest.mark.parametrize("absent", [None, "coarse_prompt"])
def test_files_are_read_in_the_same_forms(tmp_path: Any, absent: str | None) -> None:
    values = {key: array[None] * 1.0 for key, array in pads().items() if key != absent}
    np.savez(tmp_path / "me.npz", **values)
    for key, array in values.items():
        np.save(tmp_path / f"triple_{key}.npy", array)
    for name in ("me.npz", "triple"):
        assert inspect_file(tmp_path / name, TINY).problems(TINY) == []
        with pytest.warns(VoiceAdjusted, match="pads"):
            assert_same(Voice.load(tmp_path / name, TINY), {key: arrays()[key] for key in KEYS})


def test_a_prompt_that_is_none_is_missing() -> None:
    bark = Bark.from_pretrained("random:tiny")
    with pytest.warns(VoiceAdjusted, match="coarse: missing"):
        assert_same(bark.find_voice({**arrays(), "coarse_prompt": None}), arrays())
