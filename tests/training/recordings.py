"""A model of the small config on disk, recordings for it, and their transcripts."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from bark_jax.checkpoint import write_checkpoint
from bark_jax.models.parameters import parameters
from bark_jax.text import builtin_tokenizer
from bark_jax.training.prepare import Preparation

from small import CONFIG, networks

RATE = CONFIG.codec.sample_rate
CLIPS = 12
ROWS = [{"file": f"clip{i}.wav", "text": f"Text {i}", "speaker": "AB"[i % 2]} for i in range(CLIPS)]


def write_model(folder: Path) -> None:
    """All four networks of random weights, and a tokenizer that spells."""
    made = {
        name: [(path, np.asarray(x)) for path, x in parameters(network).items()] for name, network in networks().items()
    }
    write_checkpoint(folder, CONFIG, made, tokenizer_json=builtin_tokenizer().to_str())


def sweep(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """A tone that rises or falls through the band of the rate, with a little noise; float32."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    low, high = rng.uniform(0.02, 0.4, 2) * rate
    tone = 0.5 * np.sin(2 * np.pi * (low + (high - low) * time / (2 * seconds)) * time)
    return (tone + rng.normal(0, 0.01, len(time))).astype(np.float32)


def write_recordings(folder: Path) -> None:
    """Clips of 0.4 … 0.95 s, which no two share."""
    folder.mkdir()
    for i, row in enumerate(ROWS):
        soundfile.write(folder / row["file"], sweep(0.4 + 0.05 * i, seed=i), RATE, subtype="PCM_16")


def write_table(path: Path, rows: Iterable[dict[str, Any]] = ROWS) -> Path:
    """As CSV or JSONL, whichever the suffix says."""
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(file, ["file", "text", "speaker"])
            writer.writeheader()
            writer.writerows(rows)
    return path


def job(folder: Path, **changes: Any) -> Preparation:
    """Of the folders `recordings` and `model` and the `table.csv` in a folder, to its folder `data`."""
    paths = {"recordings": folder / "recordings", "transcripts": folder / "table.csv", "model": folder / "model"}
    return Preparation(**{**paths, "to": folder / "data", **changes})
