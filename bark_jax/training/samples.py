"""Audio of what a network has learned so far, of held-out clips."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from flax import nnx
from tokenizers import Tokenizer

from bark_jax import checkpoint
from bark_jax.audio import write_audio
from bark_jax.config import BarkConfig
from bark_jax.pipeline import Bark
from bark_jax.stages.codec import decode_codes, encode_waveform
from bark_jax.training.dataset import Clip

_LONGEST = 4  # seconds of a clip that the codec rebuilds

Sampler: TypeAlias = Callable[[nnx.Module], list[np.ndarray]]
"""The network as it is → a waveform, float32 [N], of each clip."""


def make_sampler(
    config: BarkConfig, stage: str, folder: Path, clips: Sequence[Any], tokenizer: Tokenizer | None
) -> Sampler | None:
    """How a stage is heard: the codec rebuilds its clips, a transformer needs the networks after it and a tokenizer.

    None where there are no clips, or where the folder of the model lacks one of those networks.
    """
    later = checkpoint.NETWORKS[checkpoint.NETWORKS.index(stage) + 1 :]
    if not clips or not all((folder / f"{name}.safetensors").exists() for name in later):
        return None
    if stage == "codec":
        return lambda network: [_rebuild(network, config, clip) for clip in clips]
    networks = {name: checkpoint.abstract_network(config, name) for name in checkpoint.NETWORKS}  # those before: unused
    networks |= {name: checkpoint.read_network(folder, name, config) for name in later}

    def speak(network: nnx.Module) -> list[np.ndarray]:
        bark = Bark(config, networks | {stage: network}, tokenizer)
        return [_speak(bark, stage, clip) for clip in clips]

    return speak


def write_samples(folder: Path, waveforms: Mapping[str, np.ndarray], sample_rate: int) -> None:
    """A .wav file for each name, which may be the path of a recording. Raises AudioError, OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, waveform in waveforms.items():
        write_audio(folder / Path(name.replace("/", "-")).with_suffix(".wav"), waveform, sample_rate)


def _rebuild(codec: Any, config: BarkConfig, waveform: np.ndarray) -> np.ndarray:
    """The beginning of a clip through the codec and back; silence makes all of one length, which compile once."""
    longest = _LONGEST * config.codec.sample_rate
    padded = np.zeros(longest, np.float32)
    padded[: len(waveform)] = waveform[:longest]
    return decode_codes(codec, config, [encode_waveform(codec, padded)])[0][: len(waveform)]


def _speak(bark: Bark, stage: str, clip: Clip) -> np.ndarray:
    """From what the stage is given in training: the text, or the true tokens of the clip."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a network which has learned little says nothing
        semantic = bark.text_to_semantic(clip.text) if stage == "semantic" else clip.tokens.semantic
        coarse = clip.tokens.coarse if stage == "fine" else bark.semantic_to_coarse(semantic)
        return bark.decode(bark.coarse_to_fine(coarse))
