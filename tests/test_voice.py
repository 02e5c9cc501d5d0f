import contextlib
import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bark_jax.config import BarkConfig
from bark_jax.voice import VOICE_NAMES, Voice, VoiceError, find_voice, list_voices

TINY = BarkConfig.tiny()
PUBLISHED = BarkConfig.small()
KEYS = ("semantic_prompt", "coarse_prompt", "fine_prompt")

Arrays = dict[str, np.ndarray]


def arrays(tokens: int = 20, dtype: Any = np.int64) -> Arrays:
    rng = np.random.default_rng(0)
    fine = rng.integers(0, TINY.codec.codebook_size, (8, tokens * 3 // 2)).astype(dtype)
    semantic = rng.integers(0, TINY.semantic.vocab, tokens).astype(dtype)
    return {"semantic_prompt": semantic, "coarse_prompt": fine[:2].copy(), "fine_prompt": fine}


def save_triple(prefix: Path, values: Arrays) -> Path:
    for key, array in values.items():
        np.save(f"{prefix}_{key}.npy", array)
    return prefix


def assert_same(voice: Voice, expected: Arrays) -> None:
    for array, key in zip((voice.semantic, voice.coarse, voice.fine), KEYS, strict=True):
        assert array.dtype == np.int32
        np.testing.assert_array_equal(array, expected[key])


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
        (replaced(semantic=np.zeros(20)), "semantic has dtype float64"),
        (replaced(semantic=np.zeros(20, bool)), "semantic has dtype bool"),
        (replaced(semantic=np.array([None] * 20)), "semantic has dtype object"),
        (replaced(semantic=np.zeros((1, 20), int)), r"semantic has shape \(1, 20\)"),
        (replaced(semantic=np.zeros(0, int)), r"semantic has shape \(0,\)"),
        (replaced(coarse=FINE[0]), r"coarse has shape \(30,\)"),
        (replaced(semantic=np.full(20, -1)), "semantic holds -1"),
        (replaced(semantic=np.full(20, 2**32 + 5)), "semantic holds 4294967301"),
        (replaced(semantic=np.full(20, 2**64 - 1, np.uint64)), "semantic holds 18446744073709551615"),
        (replaced(coarse=FINE[:2, :-1]), "coarse .* is not the beginning of fine"),
        (replaced(coarse=FINE[2:4]), "coarse .* is not the beginning of fine"),
        (replaced(fine=FINE[:1]), "coarse .* is not the beginning of fine"),
        (replaced(semantic=np.zeros(0, int), fine=FINE * 1.0), r"semantic has shape \(0,\).*; fine has dtype float64"),
    ],
)
def test_malformed_arrays_are_refused(values: Arrays, message: str) -> None:
    with pytest.raises(VoiceError, match=f"mine cannot be used: {message}"):
        Voice.from_arrays(values, name="mine")


def with_value(field: str, value: int) -> Arrays:
    values = arrays()
    values[f"{field}_prompt"].flat[-1] = value
    return values | {"coarse_prompt": values["fine_prompt"][:2] if field == "fine" else values["coarse_prompt"]}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (with_value("semantic", TINY.semantic.vocab), "semantic holds 200, the vocabulary ends at 199"),
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
    with pytest.raises(VoiceError, match=r"part\.npz lacks semantic_prompt, fine_prompt"):
        Voice.load(tmp_path / "part.npz")
    with pytest.raises(VoiceError, match="lacks"):
        Voice.from_arrays({})


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
    with pytest.raises(VoiceError, match=r"me_fine_prompt\.npy"):
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder of voices, with one of them outside."""
    voices = tmp_path / "model" / "voices"
    (voices / "v2").mkdir(parents=True)
    for path in ("announcer.npz", "en_speaker_3.npz", "v2/en_speaker_6.npz", "../../outside.npz"):
        Voice.from_arrays(arrays()).save(voices / path)
    return voices


def test_voices_are_listed_by_name(folder: Path) -> None:
    (folder / "notes.txt").touch()
    assert list_voices(folder) == ["announcer", "en_speaker_3", "v2/en_speaker_6"]
    assert list_voices(folder / "nowhere") == []


@pytest.mark.parametrize("name", ["announcer", "v2/en_speaker_6"])
def test_voices_are_found_by_name(folder: Path, name: str) -> None:
    voice = find_voice(name, folder, TINY)
    assert_same(voice, arrays())
    assert voice.name == name


def test_voices_are_found_by_path(folder: Path, tmp_path: Path) -> None:
    prefix = save_triple(tmp_path / "me", arrays())
    for spec in (str(folder / "announcer.npz"), str(prefix)):
        assert_same(find_voice(spec, None, TINY), arrays())


@pytest.mark.parametrize("name", ["../../outside", "v2/../../../outside", "{parent}/outside", "link", "", "v2", "\0"])
def test_names_do_not_leave_the_folder(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / "link.npz").symlink_to(tmp_path / "outside.npz")
    with pytest.raises(VoiceError, match="there is no voice"):
        find_voice(name.format(parent=tmp_path), folder, TINY)


def test_links_within_a_hub_snapshot_are_followed(tmp_path: Path) -> None:
    repository = tmp_path / "models--me--bark"
    voices = repository / "snapshots" / "abc" / "voices"
    voices.mkdir(parents=True)
    (repository / "blobs").mkdir()
    Voice.from_arrays(arrays()).save(repository / "blobs" / "blob.npz")
    (repository / "blobs" / "blob.npz").rename(repository / "blobs" / "0123")
    (voices / "mine.npz").symlink_to("../../../blobs/0123")
    assert_same(find_voice("mine", voices, TINY), arrays())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("en_speaker_33", r"no voice 'en_speaker_33': did you mean en_speaker_3"),
        ("V2_EN_SPEAKER_6", r"did you mean v2/en_speaker_6"),
        ("xyzzy", "no voice 'xyzzy': give a name"),
        ("a" * 5000, "there is no voice"),
        ("v2/zh_speaker_0", "published voice v2/zh_speaker_0 did not come with this model"),
        ("missing.npz", r"cannot read the voice missing\.npz"),
    ],
)
def test_unknown_voices_get_advice(folder: Path, spec: str, message: str) -> None:
    with pytest.raises(VoiceError, match=message):
        find_voice(spec, folder, TINY)


def test_voice_that_does_not_fit_is_named(folder: Path) -> None:
    np.savez(folder / "odd.npz", **with_value("semantic", 9999))
    with pytest.raises(VoiceError, match=r"odd\.npz cannot be used: semantic holds 9999"):
        find_voice("odd", folder, TINY)


def test_published_names_are_complete(shared_data: Path) -> None:
    manifest = json.loads((shared_data / "manifests" / "presets_manifest.json").read_text(encoding="utf-8"))
    assert sorted(VOICE_NAMES) == sorted(manifest)
    assert len(VOICE_NAMES) == 271


def test_published_voices_load(shared_data: Path) -> None:
    names = list_voices(shared_data / "voices")
    assert set(names) <= set(VOICE_NAMES)
    assert "v2/en_speaker_6" in names
    for name in names:
        with np.load(shared_data / "voices" / f"{name}.npz") as file:
            assert_same(find_voice(name, shared_data / "voices", PUBLISHED), dict(file))
