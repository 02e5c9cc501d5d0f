import contextlib
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bark_jax.voices.errors import VoiceError
from bark_jax.voices.metadata import MAX_CHARACTERS, VoiceMetadata
from bark_jax.voices.reading import read_metadata
from bark_jax.voices.voice import Voice, find_problems

from voice_arrays import KEYS, TINY, Arrays, arrays, assert_same, save_triple, with_value


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_source_gives_the_same_voice(tmp_path: Path, dtype: str, order: Any) -> None:
    values = {key: np.asarray(array, order=order) for key, array in arrays(dtype=dtype).items()}
    np.savez(tmp_path / "stored.npz", **values)
    np.savez_compressed(tmp_path / "deflated.npz", note=np.zeros(3), **values)
    prefix = save_triple(tmp_path / "me", values)
    for path in (tmp_path / "stored.npz", str(tmp_path / "deflated.npz"), prefix):
        assert_same(Voice.load(path, TINY), values)
        assert Voice.load(path).name == str(path)
    assert_same(Voice.from_arrays(values, TINY), values)
    assert_same(Voice.from_arrays({key: array.tolist() for key, array in values.items()}), values)


def test_voice_keeps_its_own_arrays() -> None:
    values = arrays(dtype=np.int32)
    voice = Voice.from_arrays(values)
    values["semantic_prompt"][0] += 1
    assert voice.semantic[0] == values["semantic_prompt"][0] - 1


def replaced(**changes: Any) -> Arrays:
    return arrays() | {f"{field}_prompt": value for field, value in changes.items()}


FINE = arrays()["fine_prompt"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (replaced(semantic=np.full(20, 0.5)), "semantic has dtype float64"),
        (replaced(semantic=np.zeros(20, bool)), "semantic has dtype bool"),
        (replaced(semantic=np.array([None] * 20)), "semantic has dtype object"),
        (replaced(semantic=np.zeros((2, 20), int)), r"semantic has shape \(2, 20\)"),
        (replaced(semantic=np.zeros(0, int)), r"semantic has shape \(0,\)"),
        (replaced(coarse=FINE[0]), r"coarse has shape \(30,\)"),
        (replaced(semantic=np.full(20, -1)), "semantic holds -1"),
        (replaced(semantic=np.full(20, 2**32 + 5)), "semantic holds 4294967301"),
        (replaced(semantic=np.full(20, 2**64 - 1, np.uint64)), "semantic holds 18446744073709551615"),
        (replaced(coarse=FINE[:2, :-1]), "coarse .* is not the beginning of fine"),
        (replaced(coarse=FINE[2:4]), "coarse .* is not the beginning of fine"),
        (replaced(fine=FINE[:1]), "coarse .* is not the beginning of fine"),
        (replaced(semantic=np.zeros(0, int), fine=FINE + 0.5), r"semantic has shape \(0,\).*; fine has dtype float64"),
    ],
)
def test_malformed_arrays_are_refused(values: Arrays, message: str) -> None:
    with pytest.raises(VoiceError, match=f"mine cannot be used: {message}"):
        Voice.from_arrays(values, name="mine")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (with_value("semantic", 201), "semantic holds 201, the vocabulary ends at 199"),
        (with_value("fine", 64), "fine holds 64, the codebooks end at 63"),
        (replaced(fine=FINE[:7]), "fine has 7 codebooks, not 8"),
        (replaced(coarse=FINE[:3]), "coarse has 3 codebooks, not 2"),
        (replaced(semantic=np.zeros(30, int)), r"30 frames for 30 semantic tokens: the ratio is 1.00, not 1.5"),
        (replaced(semantic=np.full(9, 999), fine=FINE[:5]), "holds 999.*; fine has 5 codebooks.*; 30 frames for 9"),
    ],
)
def test_voices_of_another_model_are_refused(values: Arrays, message: str) -> None:
    voice = Voice.from_arrays(values, name="mine")
    with pytest.raises(VoiceError, match=f"^mine cannot be used: .*{message}"):
        voice.check(TINY)
    with pytest.raises(VoiceError, match=message):
        Voice.from_arrays(values, TINY)


@pytest.mark.parametrize(("frames", "fits"), [(144, False), (146, True), (154, True), (156, False)])
def test_the_ratio_is_compared_after_rounding(frames: int, fits: bool) -> None:
    fine = np.zeros((8, frames), np.int32)
    voice = Voice(semantic=np.zeros(100, np.int32), coarse=fine[:2], fine=fine)
    with contextlib.nullcontext() if fits else pytest.raises(VoiceError, match="the ratio is"):
        voice.check(TINY)


def test_missing_arrays_are_all_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "part.npz", coarse_prompt=FINE[:2])
    with pytest.raises(VoiceError, match=r"part\.npz lacks semantic_prompt, fine_prompt$"):
        Voice.load(tmp_path / "part.npz")
    for nothing, others in (({}, ""), ({"history_prompt": {}}, ""), ({"input_ids": [1]}, "; it has 'input_ids'")):
        with pytest.raises(VoiceError, match=rf"lacks semantic_prompt, coarse_prompt, fine_prompt{others}$"):
            Voice.from_arrays(nothing)


def npy(descr: str = "'<i8'", shape: str = "(4,)") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(32)


def npz(member: bytes, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("semantic_prompt.npy", member)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a zip file",
        npz(npy())[:-9],
        npz(npy().replace(b"NUMPY", b"NUMPZ")),
        npz(npy()[:-1]),
        npz(npy()[:20]),
        npz(npy(descr="'|O'")),
        npz(npy(descr="'<i8")),
        npz(npy(descr="(" * 3000)),
        npz(npy(shape=f"({10**12},)")),
        npz(npy(shape=f"(0, {10**30})")),
        npz(npy() + bytes(2**24)),
        npz(npy(), zipfile.ZIP_BZIP2),
    ],
    ids=range(13),
)
def test_damaged_and_hostile_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(VoiceError, match=r"cannot read the voice .*bad\.npz: "):
        Voice.load(path)


def test_pickles_are_not_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (tmp_path / "sprung").touch, ()

    np.savez(tmp_path / "trap.npz", semantic_prompt=np.array([Trap()], object))
    with pytest.raises(VoiceError, match=r"trap\.npz"):
        Voice.load(tmp_path / "trap.npz")
    assert not (tmp_path / "sprung").exists()


def test_incomplete_triple_is_named(tmp_path: Path) -> None:
    prefix = save_triple(tmp_path / "me", arrays())
    Path(f"{prefix}_fine_prompt.npy").unlink()
    with pytest.raises(VoiceError, match=r"me lacks fine_prompt \(.*fine stage"):
        Voice.load(prefix)


def test_saved_voice_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    path.write_text("an older file")
    Voice.from_arrays(arrays()).save(path)
    assert_same(Voice.load(path, TINY), arrays())
    assert [p.name for p in tmp_path.iterdir()] == ["mine.npz"]
    with np.load(path) as file:
        assert sorted(file) == sorted(KEYS)


@pytest.mark.parametrize(
    ("name", "message"), [("mine", r"end in \.npz"), ("no/where.npz", "there is no folder"), (".npz", "end in")]
)
def test_unwritable_paths_are_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(VoiceError, match=message):
        Voice.from_arrays(arrays()).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, **_: Any) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", fail)
    path = tmp_path / "mine.npz"
    path.write_text("old")
    with pytest.raises(VoiceError, match=r"mine\.npz: no space left"):
        Voice.from_arrays(arrays()).save(path)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


METADATA = VoiceMetadata(language="de", description="Tief, „warm“", model="suno/bark", seed=2**32 - 1, text="Grüße 😀")


def test_metadata_travel_with_the_voice(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    Voice.from_arrays(arrays(), metadata=METADATA).save(path)
    assert Voice.load(path, TINY).metadata == read_metadata(path) == METADATA
    assert [p.name for p in tmp_path.iterdir()] == ["mine.npz"]
    with np.load(path) as file:  # as Suno's code reads it
        np.testing.assert_array_equal(file["semantic_prompt"], arrays()["semantic_prompt"])


def test_voices_without_metadata_have_none(tmp_path: Path) -> None:
    np.savez(tmp_path / "plain.npz", **arrays())
    assert Voice.load(tmp_path / "plain.npz").metadata == read_metadata(tmp_path / "plain.npz") == VoiceMetadata()
    assert Voice.load(save_triple(tmp_path / "me", arrays())).metadata == VoiceMetadata()
    assert VoiceMetadata(description="").known() == {}


def with_metadata(path: Path, content: bytes, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    np.savez(path, **arrays())
    with zipfile.ZipFile(path, "a", compression) as archive:
        archive.writestr("metadata.json", content)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"\xff", "decode"),
        (b"[]", "not an object"),
        (b"[" * 10**4, "recursion"),
        (b'{"description": "' + b"a" * 2**24 + b'"}', "exceeds 65536 bytes"),
        (b'{"language": "German"}', "a tag such as de or pt-BR, not 'German'"),
        (b'{"language": ["de"]}', "the language of a voice is a text"),
        (b'{"description": 3}', "the description of a voice is a text .*, not 3"),
        (b'{"text": "' + b"a" * (MAX_CHARACTERS + 1) + b'"}', "not 2001 characters"),
        (b'{"seed": 1.5}', "the seed of a voice is an integer"),
        (b'{"seed": true}', "not True"),
        (b'{"seed": -1}', "not -1"),
    ],
    ids=range(12),
)
def test_damaged_metadata_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = with_metadata(tmp_path / "odd.npz", content)
    for read in (read_metadata, Voice.load):
        with pytest.raises(VoiceError, match=rf"cannot read the voice .*odd\.npz: .*{message}"):
            read(path)
    assert len(find_problems(path, TINY)) == 1


def test_metadata_that_unpack_without_limit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VoiceError, match="another method than deflate"):
        read_metadata(with_metadata(tmp_path / "bomb.npz", b"{}", zipfile.ZIP_BZIP2))


def test_metadata_of_later_versions_are_read(tmp_path: Path) -> None:
    path = with_metadata(tmp_path / "new.npz", b'{"language": "pt-BR", "mood": "merry"}')
    assert read_metadata(path) == VoiceMetadata(language="pt-BR")


@given(text=st.text(alphabet=st.characters(), max_size=MAX_CHARACTERS), seed=st.integers(0, 2**32 - 1) | st.none())
@settings(max_examples=50, deadline=None)
def test_any_text_is_kept_as_one_printable_line(tmp_path_factory: pytest.TempPathFactory, text: str, seed: int) -> None:
    path = tmp_path_factory.mktemp("voice") / "mine.npz"
    metadata = VoiceMetadata(description=text, text=text, model=text, seed=seed)
    Voice.from_arrays(arrays(), metadata=metadata).save(path)
    assert read_metadata(path) == metadata
    line = metadata.text or ""
    line.encode()
    assert len(line.splitlines()) <= 1
    assert not set(line) & set(map(chr, range(32)))


def test_every_problem_of_a_file_is_found(tmp_path: Path) -> None:
    good = tmp_path / "good.npz"
    np.savez(good, **arrays())
    assert find_problems(good, TINY) == []
    assert find_problems(save_triple(tmp_path / "me", arrays()), TINY) == []
    bad = tmp_path / "bad.npz"
    np.savez(bad, coarse_prompt=FINE[2:5] + 64, fine_prompt=FINE[:7])
    assert find_problems(bad, TINY) == [
        "it lacks semantic_prompt (nothing makes it from codes: save the voice again with all three arrays)",
        "coarse (3, 30) is not the beginning of fine (7, 30)",
        "coarse has 3 codebooks, not 2",
        f"coarse holds {FINE[2:5].max() + 64}, the codebooks end at 63",
        "fine has 7 codebooks, not 8",
    ]
    np.savez(bad, **replaced(semantic=np.zeros(30, int), coarse=FINE[:2] + 0.5))
    malformed, ratio = find_problems(bad, TINY)
    assert malformed.startswith("coarse has dtype float64")
    assert ratio.startswith("30 frames for 30 semantic tokens")
