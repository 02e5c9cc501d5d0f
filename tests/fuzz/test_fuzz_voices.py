"""Any voice is used as it should be or refused with a VoiceError: no pickle is run, and memory is bounded."""

import os
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes

from bark_jax import Bark, Voice
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.reading import read_npy
from bark_jax.voices.tokens import PROMPTS

from fuzzing import Fuzz
from hostile_voices import GOOD, HOSTILE, TINY, Trap, npy, pickles, saved

MOST_MEMORY = 48 * 2**20  # bytes that loading any file may take: its arrays are at most 8 MiB each


def assert_sound(voice: Voice) -> None:
    """What the stages rely on."""
    rules = TINY.codec
    assert voice.semantic.dtype == voice.coarse.dtype == voice.fine.dtype == np.int32
    assert voice.fine.shape[0] == rules.codebooks
    assert len(voice.semantic) > 0
    assert 0 <= voice.semantic.min() <= voice.semantic.max() < TINY.semantic.vocab
    assert 0 <= voice.fine.min() <= voice.fine.max() < rules.codebook_size
    np.testing.assert_array_equal(voice.fine[: TINY.coarse.codebooks], voice.coarse)
    assert voice.fine.shape[1] / len(voice.semantic) == pytest.approx(1.5, abs=0.06)


def is_refused(load: Callable[[], Voice], name: str) -> bool:
    try:
        voice = load()
    except VoiceError as error:
        assert name in str(error)
        assert len(str(error)) < 1000
        return True
    assert_sound(voice)
    return False


def test_files_of_random_bytes_are_refused(fuzz: Fuzz, tmp_path: Path) -> None:
    starts = st.sampled_from(
        [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x93NUMPY\x01\x00", npy("<i8", (4,), b"")]
    )

    def check(start: bytes, rest: bytes) -> None:
        for name in ("bad.npz", "bad_semantic_prompt.npy"):
            (tmp_path / name).write_bytes(start + rest)
        assert is_refused(lambda: Voice.load(tmp_path / "bad.npz", TINY), "bad.npz")
        assert is_refused(lambda: Voice.load(tmp_path / "bad", TINY), "bad")

    fuzz(check, 200, start=starts, rest=st.binary(max_size=200))


def test_damaged_files_are_refused_or_still_sound(fuzz: Fuzz, tmp_path: Path) -> None:
    path, good = tmp_path / "damaged.npz", saved()

    def check(changes: dict[int, int], end: int) -> None:
        content = bytearray(good)
        for place, byte in changes.items():
            content[place] = byte
        path.write_bytes(content[:end])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, of headers
            refused = is_refused(lambda: Voice.load(path, TINY), "damaged.npz")
        assert refused or changes or end == len(good)

    places = st.integers(0, len(good) - 1)
    changes = st.dictionaries(places, st.integers(0, 255), max_size=4)
    fuzz(check, 300, changes=changes, end=st.one_of(st.just(len(good)), places))


def test_headers_of_any_kind_are_refused_or_read(fuzz: Fuzz, tmp_path: Path) -> None:
    path = tmp_path / "any.npy"
    descrs = [
        "<i8",
        ">i4",
        "|u1",
        "<f4",
        "|O",
        "<U3",
        "|V8",
        "<M8[s]",
        "<m8[s]",
        [("a", "<i4")],
        [("a", "|O")],
        "i",
        "?",
    ]
    sides = st.sampled_from([-1, 0, 1, 2, 4, 40, 2**31, 2**60, 2**64, 10**30])

    def check(descr: Any, shape: tuple[int, ...], fortran: bool, version: int) -> None:
        path.write_bytes(npy(descr, shape, fortran=fortran, version=version))
        try:
            array = read_npy(path)
        except VoiceError as error:
            assert "any.npy" in str(error)
        else:
            assert array.shape == shape
            assert array.dtype == np.dtype(descr)
            assert version == 1

    shapes = st.lists(sides, max_size=3).map(tuple)
    versions = st.sampled_from([1, 1, 1, 2, 3])
    fuzz(check, 300, descr=st.sampled_from(descrs), shape=shapes, fortran=st.booleans(), version=versions)


@pytest.mark.parametrize("kind", pickles(Trap(Path())))
def test_no_pickle_is_run(tmp_path: Path, kind: str) -> None:
    content = pickles(Trap(tmp_path / "sprung"))[kind]
    for name in ("trap.npz", "trap_semantic_prompt.npy", "trap_coarse_prompt.npy", "trap_fine_prompt.npy"):
        (tmp_path / name).write_bytes(content)
    for load in (lambda: Voice.load(tmp_path / "trap.npz"), lambda: Voice.load(tmp_path / "trap")):
        with pytest.raises(VoiceError, match="trap"):
            load()
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_in_little_memory(tmp_path: Path, kind: str) -> None:
    make, message = HOSTILE[kind]
    (tmp_path / "hostile.npz").write_bytes(make())
    tracemalloc.start()
    try:
        with pytest.raises(VoiceError, match=rf"hostile\.npz.*({message})") as raised:
            Voice.load(tmp_path / "hostile.npz", TINY)
        assert len(str(raised.value)) < 1000
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<i2", ">i8", "<u8"])
def test_every_layout_of_integers_is_read(tmp_path: Path, dtype: str) -> None:
    values = {name: np.asfortranarray(array.astype(dtype)) for name, array in GOOD.items()}
    np.savez(tmp_path / "good.npz", **values)
    assert_sound(Voice.load(tmp_path / "good.npz", TINY))


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nowhere", "link to itself"])
@pytest.mark.parametrize("name", ["odd.npz", "odd_semantic_prompt.npy"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str, name: str) -> None:
    path = tmp_path / name
    if kind == "pipe":
        os.mkfifo(path)  # opening it would wait for a writer
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere" if kind == "link to nowhere" else name)
    with pytest.raises(VoiceError, match=r"odd.*(not a file|no such file)"):
        Voice.load(tmp_path / name.removesuffix("_semantic_prompt.npy"))


@pytest.mark.filterwarnings("ignore:mine. coarse. missing:bark_jax.voices.errors.VoiceAdjusted")  # None is no array
def test_arrays_of_any_kind_are_refused_or_sound(fuzz: Fuzz) -> None:
    anything = arrays(scalar_dtypes(), array_shapes(min_dims=0, max_dims=3, max_side=8))
    odd = st.sampled_from([None, "", 7, [], [[1], [1, 2]], [2**70], [None], {}, object, np.ma.masked])

    def check(changes: dict[str, Any]) -> None:
        is_refused(lambda: Voice.from_arrays(GOOD | changes, TINY, name="mine"), "mine")

    fuzz(check, 200, changes=st.dictionaries(st.sampled_from(PROMPTS), st.one_of(anything, odd), min_size=1))


def test_arrays_that_claim_to_be_huge_are_refused_at_once() -> None:
    endless = np.broadcast_to(np.int32(1), (8, 10**12))
    with pytest.raises(VoiceError, match=r"coarse has shape \(2, 1000000000000\), more than 2000000 tokens; fine has"):
        Voice(semantic=GOOD["semantic_prompt"], coarse=endless[:2], fine=endless)


def test_numpys_own_mapping_is_refused_like_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "lazy.npz", **(GOOD | {"fine_prompt": np.array([None])}))
    with np.load(tmp_path / "lazy.npz") as lazy, pytest.raises(VoiceError, match="mine cannot be read: Object arrays"):
        Voice.from_arrays(lazy, name="mine")


def test_whatever_passes_the_check_can_be_continued(fuzz: Fuzz, bark: Bark) -> None:
    def check(tokens: int, frames: int, data: int) -> None:
        values = np.random.default_rng(data)
        fine = values.integers(0, TINY.codec.codebook_size, (8, max(1, frames + tokens * 3 // 2)))
        semantic = values.integers(0, TINY.semantic.vocab, tokens)
        arrays = {"semantic_prompt": semantic, "coarse_prompt": fine[:2], "fine_prompt": fine}
        if not is_refused(lambda: Voice.from_arrays(arrays, TINY, name="mine"), "mine"):
            result = bark.generate("Hi", arrays, seed=data, max_seconds=0.1, min_eos_p=None, allow_early_stop=False)
            assert result.coarse.shape == (2, 6)
            assert np.isfinite(result.waveform).all()

    tokens = st.one_of(st.integers(1, 12), st.integers(1, 1200))
    fuzz(check, 40, tokens=tokens, frames=st.integers(-2, 2), data=st.integers(0, 2**31))
