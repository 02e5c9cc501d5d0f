"""Any voice is used as it should be or refused with a VoiceError: no pickle is run, and memory is bounded."""

import io
import os
import pickle
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes

from bark_jax import Bark, BarkConfig, Voice
from bark_jax.voice import PROMPTS, VoiceError, read_npy

from fuzzing import Fuzz, Unprintable

TINY = BarkConfig.tiny()
MOST_MEMORY = 48 * 2**20  # bytes that loading any file may take: its arrays are at most 8 MiB each

rng = np.random.default_rng(0)
FINE = rng.integers(0, TINY.codec.codebook_size, (8, 30))
GOOD = {"semantic_prompt": rng.integers(0, TINY.semantic.vocab, 20), "coarse_prompt": FINE[:2], "fine_prompt": FINE}


def saved(**members: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **(GOOD | members))
    return file.getvalue()


class Source(str):
    """Stands in a header as it is."""

    def __repr__(self) -> str:
        return str(self)


def npy(descr: object, shape: object, data: bytes = bytes(320), *, fortran: bool = False, version: int = 1) -> bytes:
    header = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}\n".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def zipped(*members: tuple[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def with_semantic(member: bytes) -> bytes:
    """A good voice but for the content of one member."""
    good = zipfile.ZipFile(io.BytesIO(saved()))
    others = [(name, good.read(name)) for name in good.namelist() if not name.startswith("semantic")]
    return zipped(*others, ("semantic_prompt.npy", member))


def renamed(form: str) -> bytes:
    good = zipfile.ZipFile(io.BytesIO(saved()))
    return zipped(*((form.format(name), good.read(name)) for name in good.namelist()))


def with_compression(method: int, flags: int = 0) -> bytes:
    """A zip file whose table of contents and members claim another method, or that they are encrypted."""
    content = bytearray(zipped(("semantic_prompt.npy", npy("<i8", (40,)))))
    central = content.index(b"PK\x01\x02")
    for flags_at in (6, central + 8):
        content[flags_at : flags_at + 4] = struct.pack("<HH", flags, method)
    return bytes(content)


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


class Trap:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def pickles(trap: Trap) -> dict[str, bytes]:
    array = io.BytesIO()
    np.save(array, np.array([trap], object))
    pickled = pickle.dumps(trap)
    return {
        "a pickle": pickled,
        "an array of objects": array.getvalue(),
        "a zipped pickle": with_semantic(pickled),
        "a zipped array of objects": with_semantic(array.getvalue()),
        "records of objects": with_semantic(npy([("a", "|O")], (1,), pickled)),
        "objects behind a good header": with_semantic(npy("<i8", (1,), pickled)),
    }


@pytest.mark.parametrize("kind", pickles(Trap(Path())))
def test_no_pickle_is_run(tmp_path: Path, kind: str) -> None:
    content = pickles(Trap(tmp_path / "sprung"))[kind]
    for name in ("trap.npz", "trap_semantic_prompt.npy", "trap_coarse_prompt.npy", "trap_fine_prompt.npy"):
        (tmp_path / name).write_bytes(content)
    for load in (lambda: Voice.load(tmp_path / "trap.npz"), lambda: Voice.load(tmp_path / "trap")):
        with pytest.raises(VoiceError, match="trap"):
            load()
    assert not (tmp_path / "sprung").exists()


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "2⁵⁰ elements": (lambda: with_semantic(npy("<i8", (2**50,))), "smaller than"),
    "2⁶⁰ elements": (lambda: with_semantic(npy("<i8", (2**60,))), "too big"),
    "2⁶⁰ elements, Fortran": (lambda: with_semantic(npy("<i8", (2**30, 2**30), fortran=True)), "too big"),
    "beyond 64 bits": (lambda: with_semantic(npy("<i8", (2**70,))), "too large"),
    "no elements, 2⁶⁰ columns": (lambda: with_semantic(npy("<i8", (0, 2**60))), "too big"),
    "a negative shape": (lambda: with_semantic(npy("<i8", (-1,))), "negative"),
    "a later format": (lambda: with_semantic(npy("<i8", (40,), version=2)), r"version \(2, 0\)"),
    "records": (lambda: with_semantic(npy([("a", "<i4"), ("b", "<i4")], (40,))), "dtype"),
    "durations": (lambda: with_semantic(npy("<m8[s]", (40,))), "dtype timedelta64"),
    "text": (lambda: with_semantic(npy("<U2", (40,))), "dtype <U2"),
    "deep nesting": (lambda: with_semantic(npy(Source("[" * 4500 + "]" * 4500), (4,))), ""),
    "many signs": (lambda: with_semantic(npy("<i8", Source("-" * 9000 + "1"))), ""),
    "a long dtype": (lambda: with_semantic(npy("x" * 9000, (4,))), "not a valid dtype"),
    "a long header": (lambda: with_semantic(npy("x" * 60_000, (4,))), "is large"),
    "a zip bomb": (lambda: with_semantic(npy("<i8", (2**23,), bytes(2**26))), "exceeds 8388608 bytes"),
    "a bzip2 bomb": (
        lambda: zipped(("semantic_prompt.npy", bytes(2**24)), compression=zipfile.ZIP_BZIP2),
        "another method",
    ),
    "an LZMA bomb": (
        lambda: zipped(("semantic_prompt.npy", bytes(2**24)), compression=zipfile.ZIP_LZMA),
        "another method",
    ),
    "deflate64": (lambda: with_compression(9), "another method"),
    "encryption": (lambda: with_compression(8, flags=1), "encrypted"),
    "members in a folder": (lambda: renamed("voice/{}"), "lacks semantic_prompt, coarse_prompt, fine_prompt"),
    "members above": (lambda: renamed("../{}"), "lacks"),
    "members at the root": (lambda: renamed("/{}"), "lacks"),
    "a member twice": (
        lambda: zipped(*[("semantic_prompt.npy", npy("<i8", (40,)))] * 2),
        "semantic_prompt is in it twice",
    ),
    "many members": (lambda: zipped(*((f"{i}", b"") for i in range(10_000))), "lacks"),
    "a zip in a zip": (lambda: zipped(("semantic_prompt.npy", saved())), "magic"),
    "more than fits": (lambda: bytes(2**24 + 1), "it exceeds 16777216 bytes"),
    "negative codes": (lambda: saved(fine_prompt=-FINE, coarse_prompt=-FINE[:2]), "fine holds -"),
    "codes that wrap around": (lambda: saved(fine_prompt=FINE + 2**32, coarse_prompt=FINE[:2] + 2**32), "holds 42949"),
    "the largest uint64": (lambda: saved(semantic_prompt=np.full(20, 2**64 - 1, np.uint64)), "holds 18446"),
    "floats": (lambda: saved(semantic_prompt=np.full(20, np.nan)), "dtype float64"),
    "another ratio": (lambda: saved(semantic_prompt=np.zeros(10, int)), "the ratio is 3.00"),
    "transposed": (lambda: saved(fine_prompt=FINE.T), "is not the beginning of fine"),
}  # fmt: skip


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


def test_arrays_of_any_kind_are_refused_or_sound(fuzz: Fuzz) -> None:
    anything = arrays(scalar_dtypes(), array_shapes(min_dims=0, max_dims=3, max_side=8))
    odd = st.sampled_from([None, "", 7, [], [[1], [1, 2]], [2**70], [None], {}, Unprintable(), object, np.ma.masked])

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
