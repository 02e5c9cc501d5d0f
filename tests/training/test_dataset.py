"""Folders of data: order, mapped shards, pickles, and folders that are damaged or of another model."""

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bark_jax.training import AudioClips, DataError, TokenClips, TrainingError, open_audio, open_tokens, shards
from bark_jax.training.dataset import AudioManifest, Manifest, TokenManifest, expected_numbers, write_manifest
from bark_jax.training.shards import ShardWriter

from small import CONFIG, random_clip

LENGTHS = (7, 12, 9, 30, 8)  # semantic tokens of the clips
VOICES = [random_clip(length, seed) for seed, length in enumerate(LENGTHS)]
SAMPLES = [np.arange(-seed, 10 * length, dtype=np.int16) for seed, length in enumerate(LENGTHS)]
FACTS = [{"name": f"{i}.wav", "text": f"line\u2028{i}", "speaker": "AB"[i % 2]} for i in range(len(LENGTHS))]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five clips in shards of two or three."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 250)
    audio = ShardWriter(tmp_path, "audio", np.int16)
    for samples, facts in zip(SAMPLES, FACTS, strict=True):
        audio.add(samples, **facts)
    audio.close()
    monkeypatch.setattr(shards, "SHARD_BYTES", 2000)
    tokens = ShardWriter(tmp_path, "tokens", np.int32)
    for voice, facts in zip(VOICES, FACTS, strict=True):
        flat = np.concatenate([voice.semantic, voice.fine.ravel()])
        tokens.add(flat, **facts, tokens=len(voice.semantic), frames=voice.fine.shape[1])
    tokens.close()
    write_manifest(tmp_path, manifest())
    return tmp_path


def manifest() -> Manifest:
    rate = CONFIG.codec.sample_rate
    return Manifest(
        audio=AudioManifest(source="a", clips=5, seconds=1.0, sample_rate=rate),
        tokens=TokenManifest(
            source="b",
            codec="c",
            semantic_tokens="d",
            clusters="given",
            clips=5,
            seconds=1.0,
            **expected_numbers(CONFIG),
        ),
    )


def assert_clips(audio: AudioClips, tokens: TokenClips) -> None:
    assert len(audio) == len(tokens) == len(LENGTHS)
    assert audio.names == tokens.names == [facts["name"] for facts in FACTS]
    for i, (waveform, clip) in enumerate(zip(audio, tokens, strict=True)):
        assert waveform.dtype == np.float32
        np.testing.assert_array_equal(waveform * 2**15, SAMPLES[i])
        assert {"name": clip.name, "text": clip.text, "speaker": clip.speaker} == FACTS[i]
        for field in ("semantic", "coarse", "fine"):
            np.testing.assert_array_equal(getattr(clip.tokens, field), getattr(VOICES[i], field))


def test_clips_come_back_in_order(folder: Path) -> None:
    assert len(list(folder.glob("audio-*.npy"))) > 1
    assert len(list(folder.glob("tokens-*.npy"))) > 1
    assert_clips(open_audio(folder, CONFIG), open_tokens(str(folder), CONFIG))


def test_they_are_sequences(folder: Path) -> None:
    audio = open_audio(folder, CONFIG)
    np.testing.assert_array_equal(audio[-1], audio[np.int64(4)])
    for cut, index in zip(audio[3:0:-2], (3, 1), strict=True):
        np.testing.assert_array_equal(cut, audio[index])
    for beyond in (5, -6):
        with pytest.raises(IndexError):
            audio[beyond]


def test_pickles_hold_no_audio_and_map_the_files_again(folder: Path) -> None:
    audio, tokens = open_audio(folder, CONFIG), open_tokens(folder, CONFIG)
    assert isinstance(audio._shards._map(0), np.memmap)
    pickles = [pickle.dumps(clips) for clips in (audio, tokens)]
    assert all(b"memmap" not in data for data in pickles)
    assert_clips(*map(pickle.loads, pickles))


def remove(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def write(name: str, content: str) -> Any:
    return lambda folder: (folder / name).write_text(content)


def replace(name: str, array: np.ndarray) -> Any:
    return lambda folder: np.save(folder / name, array, allow_pickle=True)


def edit_manifest(**changes: Any) -> Any:
    def edit(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("manifest.json"), "which `bark-jax data prepare` writes last"),
        (write("manifest.json", "{"), "cannot read .*manifest.json"),
        (write("manifest.json", "[]"), "is not of training data"),
        (write("manifest.json", '{"name": "a web page"}'), "is not of training data"),
        (edit_manifest(version=1), "format version 1"),
        (edit_manifest(audio=None), "is damaged"),
        (edit_manifest(tokens={}), "is damaged"),
        (edit_manifest(more=1), "is damaged"),
        (remove("audio.jsonl"), "cannot read .*audio.jsonl"),
        (write("audio.jsonl", "{}\n"), "line 1: it does not describe a clip"),
        (write("audio.jsonl", "\n"), "cannot read .*audio.jsonl"),
        (remove("audio-00001.npy"), "cannot read .*audio-00001.npy"),
        (write("audio-00001.npy", ""), "cannot read .*audio-00001.npy"),
        (replace("audio-00001.npy", np.zeros(3, np.int16)), "does not have the size"),
        (replace("audio-00001.npy", np.zeros(3, np.int32)), "is not an array of int16"),
        (replace("audio-00001.npy", np.array([{}])), "cannot read .*audio-00001.npy"),
    ],
)
def test_damage_is_named(folder: Path, damage: Any, message: str) -> None:
    damage(folder)
    with pytest.raises(DataError, match=message):
        open_audio(folder, CONFIG)


def test_an_index_that_contradicts_itself(folder: Path) -> None:
    path = folder / "tokens.jsonl"
    path.write_text(path.read_text().replace('"tokens": 12', '"tokens": 13'))
    with pytest.raises(DataError, match=r"contradicts itself about 1\.wav"):
        open_tokens(folder, CONFIG)


def test_a_folder_without_tokens(folder: Path) -> None:
    write_manifest(folder, dataclasses.replace(manifest(), tokens=None))
    assert len(open_audio(folder, CONFIG)) == len(LENGTHS)
    with pytest.raises(DataError, match="audio only"):
        open_tokens(folder, CONFIG)
    assert issubclass(DataError, TrainingError)


def replaced(section: str, **changes: Any) -> Any:
    return dataclasses.replace(CONFIG, **{section: dataclasses.replace(getattr(CONFIG, section), **changes)})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (replaced("semantic", vocab=100), "semantic_vocab 200 instead of 100"),
        (replaced("semantic", rate_hz=25.0), "semantic_rate_hz 49.9 instead of 25.0"),
        (replaced("codec", codebook_size=16), "codebook_size 32 instead of 16"),
        (replaced("codec", ratios=(12,)), "frame_rate_hz 75.0 instead of 50.0"),
    ],
)
def test_another_model_is_refused(folder: Path, config: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_tokens(folder, config)
    with pytest.raises(DataError, match="sample_rate 600 instead of 800"):
        open_audio(folder, replaced("codec", sample_rate=800))
