"""Audio of what a network has learned so far, of held-out clips."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from tokenizers import Tokenizer

from bark_jax import checkpoint
from bark_jax.audio import AudioError, write_audio
from bark_jax.bark import Bark
from bark_jax.config import NETWORKS, BarkConfig
from bark_jax.errors import RunError
from bark_jax.models.parameters import abstract_network
from bark_jax.sharding import is_first_host, put_parameter
from bark_jax.stages.codec import decode_codes, encode_waveform
from bark_jax.training.dataset import Clip
from bark_jax.training.step import Trainer

_LONGEST = 4  # seconds of a clip that the codec rebuilds


@dataclass(frozen=True)
class Samples:
    """How to listen to a network."""

    speak: Callable[[nnx.Module, Any], np.ndarray]  # the network as it is, a clip → a waveform, float32 [N]
    clips: Mapping[str, Any]  # by name
    sample_rate: int  # Hz

    def write(self, folder: Path, network: nnx.Module) -> None:
        """A .wav file for each clip, named after it; all processes speak, the first one writes. Raises RunError."""
        waveforms = {name: self.speak(network, clip) for name, clip in self.clips.items()}
        if not is_first_host():
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, waveform in waveforms.items():
                write_audio(folder / Path(name.replace("/", "-")).with_suffix(".wav"), waveform, self.sample_rate)
        except (OSError, AudioError) as error:
            raise RunError(f"cannot write samples into {folder}: {error}") from error


def make_samples(trainer: Trainer, folder: Path, clips: Mapping[str, Any], tokenizer: Tokenizer) -> Samples | None:
    """The codec rebuilds its clips; a transformer through the networks after it, in the model's folder.

    None where one of those is not there yet, or there are no clips.
    """
    config, stage = trainer.config, trainer.stage
    later = NETWORKS[NETWORKS.index(stage) + 1 :]
    if not clips or not all((folder / f"{name}.safetensors").exists() for name in later):
        return None
    if stage == "codec":
        return Samples(partial(_rebuild, config), clips, config.codec.sample_rate)
    put = partial(put_parameter, mesh=trainer.mesh)
    networks = {name: abstract_network(config, name) for name in NETWORKS}  # those before: unused
    networks |= {name: checkpoint.read_network(folder, name, config, put=put) for name in later}

    def speak(network: nnx.Module, clip: Clip) -> np.ndarray:
        return _speak(Bark(config, networks | {stage: network}, tokenizer, mesh=trainer.mesh), stage, clip)

    return Samples(speak, clips, config.codec.sample_rate)


def _rebuild(config: BarkConfig, codec: Any, waveform: np.ndarray) -> np.ndarray:
    """The beginning of a clip through the codec and back; silence makes all of one length, which compile once."""
    longest = _LONGEST * config.codec.sample_rate
    padded = np.zeros(longest, np.float32)
    padded[: len(waveform)] = waveform[:longest]
    return decode_codes(codec, config, [encode_waveform(codec, padded)])[0][: len(waveform)]


def _speak(bark: Bark, stage: str, clip: Clip) -> np.ndarray:
    """From what the stage is given in training: the text, or the true tokens of the clip."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a network that has learned little may say nothing
        semantic = bark.text_to_semantic(clip.text) if stage == "semantic" else clip.tokens.semantic
        coarse = clip.tokens.coarse if stage == "fine" else bark.semantic_to_coarse(semantic)
        return bark.decode(bark.coarse_to_fine(coarse))
