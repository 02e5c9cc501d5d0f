"""Networks, clips and batches small enough to train in a test: every window of Bark's is there, only shorter."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from bark_jax import BarkConfig, Settings, Voice
from bark_jax.checkpoint import write_model_folder
from bark_jax.models.parameters import map_parameters
from bark_jax.models.random_networks import random_networks
from bark_jax.text import builtin_tokenizer
from bark_jax.training import (
    CodecTraining,
    TrainConfig,
    Trainer,
    coarse_examples,
    fine_example,
    sample_waveform,
    semantic_example,
    stack,
)
from bark_jax.training.batches import Batch
from bark_jax.training.dataset import Clip
from bark_jax.training.run import RunConfig, Schedule

GREEDY = Settings(semantic_temperature=0, coarse_temperature=0, fine_temperature=0)
STAGES = ("semantic", "coarse", "fine", "codec")
SAMPLES = 160  # of a waveform, 20 frames


def small_config() -> BarkConfig:
    """The tiny preset with windows of a few positions, and a codec of fewer layers at 600 Hz, 75 frames per second."""
    tiny, replace = BarkConfig.tiny(), dataclasses.replace
    semantic, coarse, fine = tiny.semantic, tiny.coarse, tiny.fine
    return replace(
        tiny,
        semantic=replace(semantic, gpt=replace(semantic.gpt, block_size=72), max_text=24, max_new=48),
        coarse=replace(coarse, gpt=replace(coarse.gpt, block_size=88), max_semantic=24, max_history=48, window=12),
        fine=replace(fine, gpt=replace(fine.gpt, block_size=48), max_history=24, hop=24),
        codec=replace(tiny.codec, sample_rate=600, ratios=(8,), lstm_layers=1, width=8, codebook_size=32),
    )


CONFIG = small_config()


def networks(scale: float = 1.0) -> dict[str, nnx.Module]:
    """Random ones, the transformers' matrices times `scale`: with larger ones, greedy choices vary."""
    made = random_networks(CONFIG, jax.random.key(0))
    codec = made.pop("codec")
    scaled = {
        name: map_parameters(lambda _, x: x * scale if x.ndim > 1 else x, network) for name, network in made.items()
    }
    return scaled | {"codec": codec}


def random_text(length: int, seed: int = 0) -> np.ndarray:
    """Offset text ids."""
    return np.random.default_rng(seed).integers(CONFIG.semantic.text_offset, CONFIG.semantic.text_pad, length, np.int32)


def random_clip(tokens: int, seed: int = 0) -> Voice:
    """That number of semantic tokens, and the codes of the same duration."""
    rng = np.random.default_rng([tokens, seed])
    frames = int(tokens * CONFIG.codec.frame_rate_hz / CONFIG.semantic.rate_hz)
    codes = rng.integers(0, CONFIG.codec.codebook_size, (CONFIG.codec.codebooks, frames))
    return Voice(semantic=rng.integers(0, CONFIG.semantic.vocab, tokens), coarse=codes[:2], fine=codes)


def random_batch(stage: str) -> Batch:
    """Four rows that learn different numbers of targets."""
    clips = [random_clip(tokens) for tokens in (6, 12, 8, 10)]
    if stage == "semantic":
        return stack([semantic_example(CONFIG, random_text(5, seed), c.semantic) for seed, c in enumerate(clips)])
    if stage == "coarse":
        return stack([coarse_examples(CONFIG, clip)[0] for clip in clips])
    if stage == "fine":
        windows = enumerate(clips)
        return stack([fine_example(CONFIG, c.fine, codebook=2 + i, start=0, known=2 * i) for i, c in windows])
    rng = np.random.default_rng(0)
    tones = [0.3 * np.sin(2 * np.pi * hz * np.arange(2 * SAMPLES) / 600) for hz in (22, 44, 33, 55)]
    return stack([sample_waveform(tone, SAMPLES, rng) for tone in tones])


def named_clips(count: int = 12) -> list[Clip]:
    """Two speakers, by turns."""
    return [
        Clip(name=f"{i}.wav", text=f"clip {i}", speaker="ab"[i % 2], tokens=random_clip((6, 12, 8, 10)[i % 4], seed=i))
        for i in range(count)
    ]


def tones(count: int = 12) -> list[np.ndarray]:
    """Waveforms of about half a second, for the codec."""
    return [
        (0.3 * np.sin(2 * np.pi * (20 + 3 * i) * np.arange(300 + i) / 600)).astype(np.float32) for i in range(count)
    ]


def run_config(folder: Path, *, train: dict[str, Any] | None = None, **changes: Any) -> RunConfig:
    """Of six steps, in subfolders of the folder; the model's is made. Runs of equal training share programs."""
    if not (folder / "model").exists():
        write_model_folder(folder / "model", CONFIG, tokenizer_json=builtin_tokenizer().to_str())
    options: dict[str, Any] = {
        "model": folder / "model", "data": folder / "data", "run": folder / "run", "batch": 4,
        "seconds": SAMPLES / CONFIG.codec.sample_rate,
        "schedule": Schedule(log_every=1, save_every=2, validate_every=2, sample_every=0, held_out=0.2),
    }  # fmt: skip
    options["train"] = make_trainer("codec", **{"steps": 6, "warmup_steps": 1} | (train or {})).train
    return RunConfig(**options | changes)


def make_trainer(stage: str, **changes: Any) -> Trainer:
    """Equal ones share their programs: tests change what they must and no more."""
    options: dict[str, Any] = {"steps": 200, "warmup_steps": 10, "learning_rate": 1e-2, "weight_decay": 0}
    options |= {"average_decay": 0.15, "codec": CodecTraining(windows=(16,), dropout=0.0)} | changes
    return Trainer(config=CONFIG, stage=stage, train=TrainConfig(**options))


def assert_same(ours: Any, theirs: Any) -> None:
    """Bit for bit."""
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
