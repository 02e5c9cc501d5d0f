"""Bark: text → semantic tokens → coarse codes → fine codes → waveform."""

import secrets
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from tokenizers import Tokenizer

from bark_jax import checkpoint
from bark_jax.audio import write_audio
from bark_jax.config import BarkConfig
from bark_jax.hub import resolve
from bark_jax.models.encodec import Encodec
from bark_jax.models.fine_gpt import FineGPT
from bark_jax.models.gpt import GPT
from bark_jax.settings import Settings
from bark_jax.stages.coarse import generate_coarse
from bark_jax.stages.codec import decode_codes, encode_waveform
from bark_jax.stages.fine import generate_fine
from bark_jax.stages.progress import Progress
from bark_jax.stages.semantic import generate_semantic
from bark_jax.text import builtin_tokenizer, encode_text, load_tokenizer
from bark_jax.voice import Voice, find_voice, list_voices

RANDOM = "random:"  # before the name of a preset: random weights instead of a checkpoint

VoiceSource: TypeAlias = Voice | str | Path | None

StageProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with (stage, done, in all): tokens of the semantic and coarse stages, windows of the fine stage, frames."""


class EmptyGeneration(UserWarning):
    """The model ended the clip before its first token."""


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One generated clip with everything it was made from."""

    text: str
    seed: int
    sample_rate: int  # Hz
    waveform: np.ndarray  # [samples] float32, about −1 … 1
    semantic: np.ndarray  # [N] int32
    coarse: np.ndarray  # [2, T] int32
    fine: np.ndarray  # [8, T] int32
    timings: Mapping[str, float]  # seconds per stage; the first call of a shape includes its compilation

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return len(self.waveform) / self.sample_rate

    @property
    def real_time_factor(self) -> float:
        """Seconds of work per second of audio; infinite for an empty clip."""
        return sum(self.timings.values()) / self.seconds if self.seconds else float("inf")

    def save(self, path: str | Path) -> None:
        """Write the waveform to a .wav, .flac or .ogg file. Raises AudioError."""
        write_audio(path, self.waveform, self.sample_rate)

    def as_voice(self) -> Voice:
        """This clip as the voice of later ones. Raises VoiceError for an empty clip."""
        return Voice(semantic=self.semantic, coarse=self.coarse, fine=self.fine)


class Bark:
    """A Bark model: four networks, a tokenizer, its voices and default settings.

    The stages are methods of their own, with NumPy arrays in and out. Each takes the seed of the whole generation and
    derives its own randomness from it, so running them one after another is `generate`.
    """

    def __init__(
        self,
        config: BarkConfig,
        networks: Mapping[str, nnx.Module],
        tokenizer: Tokenizer,
        *,
        voice_folder: Path | None = None,
    ) -> None:
        self.config = config
        self.semantic = cast(GPT, networks["semantic"])
        self.coarse = cast(GPT, networks["coarse"])
        self.fine = cast(FineGPT, networks["fine"])
        self.codec = cast(Encodec, networks["codec"])
        self.tokenizer = tokenizer
        self.voice_folder = voice_folder
        self.settings = Settings.defaults(config)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        dtype: str | None = None,
        param_dtype: str | None = None,
        revision: str | None = None,
        token: str | None = None,
        progress: bool = False,
    ) -> Self:
        """Load a model.

        source: a converted checkpoint; a folder with Suno's or Hugging Face's files, or a hub id (`suno/bark-small`),
        which is converted once into the user's cache; or `random:tiny`, `random:small`, `random:large` for random
        weights. dtype: what the transformers compute in, "float32" or "bfloat16" (default: float32 on CPU, bfloat16
        elsewhere; the codec is always float32); param_dtype: what they are stored in (default: dtype). revision, token:
        for the hub. Raises CheckpointError, and ConfigError for an unknown preset.
        """
        dtype = dtype or default_dtype()
        if str(source).startswith(RANDOM):
            config = BarkConfig.preset(str(source).removeprefix(RANDOM))
            return cls.from_config(config, jax.random.key(0), dtype=dtype, param_dtype=param_dtype)
        folder = resolve(source, revision=revision, token=token, progress=progress)
        config = checkpoint.read_config(folder)
        dtypes = {"param_dtype": jnp.dtype(param_dtype or dtype), "dtype": jnp.dtype(dtype)}
        networks = {name: checkpoint.read_network(folder, name, config, **dtypes) for name in checkpoint.NETWORKS}
        return cls(config, networks, load_tokenizer(folder), voice_folder=folder / "voices")

    @classmethod
    def from_config(
        cls, config: BarkConfig, key: Array, *, dtype: str | None = None, param_dtype: str | None = None
    ) -> Self:
        """A model with random weights (noise comes out) and the built-in tokenizer."""
        dtype = dtype or default_dtype()
        dtypes = {"param_dtype": jnp.dtype(param_dtype or dtype), "dtype": jnp.dtype(dtype)}
        return cls(config, checkpoint.random_networks(config, key, **dtypes), builtin_tokenizer())

    def generate(
        self,
        text: str,
        voice: VoiceSource = None,
        *,
        seed: int | None = None,
        settings: Settings | None = None,
        progress: StageProgress | None = None,
        **overrides: Any,
    ) -> Generation:
        """Speak a text of up to about 14 seconds.

        voice: a Voice, a file, or the name of one (`v2/en_speaker_6`). seed: the same seed gives the same audio; by
        default a fresh one, kept in the result. settings: how to sample (default: the checkpoint's); overrides: single
        fields of it, as in `temperature`-like keywords `semantic_temperature=0.5`. Raises TextError, VoiceError,
        SettingsError; warns with TextTruncated and EmptyGeneration.
        """
        seed = secrets.randbits(31) if seed is None else seed
        settings = (settings or self.settings).replace(**overrides)
        voice = self.find_voice(voice)
        shared: dict[str, Any] = {"voice": voice, "seed": seed, "settings": settings}
        timings: dict[str, float] = {}

        def run(stage: str, function: Callable[..., np.ndarray], given: Any, **options: Any) -> np.ndarray:
            watch = partial(progress, stage) if progress else None
            started = time.perf_counter()
            output = function(given, progress=watch, **options)
            timings[stage] = time.perf_counter() - started
            return output

        semantic = run("semantic", self.text_to_semantic, text, **shared)
        if not len(semantic):
            message = f"the model ended the clip before its first token (seed {seed}): try another seed"
            warnings.warn(message, EmptyGeneration, stacklevel=2)
        coarse = run("coarse", self.semantic_to_coarse, semantic, **shared)
        fine = run("fine", self.coarse_to_fine, coarse, **shared)
        waveform = run("codec", self.decode, fine)
        return Generation(
            text=text, seed=seed, sample_rate=self.config.codec.sample_rate, waveform=waveform,
            semantic=semantic, coarse=coarse, fine=fine, timings=timings,
        )  # fmt: skip

    def text_to_semantic(
        self,
        text: str,
        *,
        voice: VoiceSource = None,
        seed: int = 0,
        settings: Settings | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Text → semantic tokens, int32 [N], 0 ≤ N ≤ 768 at 49.9 Hz. Raises and warns as `generate` does."""
        ids = encode_text(self.tokenizer, text, self.config.semantic)
        return generate_semantic(
            self.semantic, self.config, [ids], _keys(seed, "semantic"), [settings or self.settings],
            [self.find_voice(voice)], progress,
        )[0]  # fmt: skip

    def semantic_to_coarse(
        self,
        semantic: np.ndarray,
        *,
        voice: VoiceSource = None,
        seed: int = 0,
        settings: Settings | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Semantic tokens, int [N] → the first two codebooks, int32 [2, T] at 75 Hz. Raises TokenError."""
        semantic = check_tokens(semantic, "semantic tokens", (None,), self.config.semantic.vocab)
        return generate_coarse(
            self.coarse, self.config, [semantic], _keys(seed, "coarse"), [settings or self.settings],
            [self.find_voice(voice)], progress,
        )[0]  # fmt: skip

    def coarse_to_fine(
        self,
        coarse: np.ndarray,
        *,
        voice: VoiceSource = None,
        seed: int = 0,
        settings: Settings | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """The first two codebooks, int [2, T] → all, int32 [8, T]. Raises TokenError."""
        codec = self.config.codec
        coarse = check_tokens(coarse, "coarse codes", (self.config.coarse.codebooks, None), codec.codebook_size)
        return generate_fine(
            self.fine, self.config, [coarse], _keys(seed, "fine"), [settings or self.settings],
            [self.find_voice(voice)], progress,
        )[0]  # fmt: skip

    def decode(self, codes: np.ndarray, *, progress: Progress | None = None) -> np.ndarray:
        """Codes, int [K ≤ 8, T] → waveform, float32 [T · 320] at 24 kHz. Raises TokenError."""
        codec = self.config.codec
        codes = check_tokens(codes, "codes", (None, None), codec.codebook_size)
        frames = codes.shape[1]
        if progress:
            progress(0, frames)
        waveform = decode_codes(self.codec, self.config, [codes])[0]
        if progress:
            progress(frames, frames)
        return waveform

    def encode(self, waveform: np.ndarray) -> np.ndarray:
        """Mono waveform, float [N] at 24 kHz (see `audio.read_audio`) → codes, int32 [8, ⌈N / 320⌉]."""
        return encode_waveform(self.codec, waveform)

    def find_voice(self, voice: VoiceSource) -> Voice | None:
        """The voice of that name or file, checked against this model. Raises VoiceError."""
        if voice is None:
            return None
        if isinstance(voice, Voice):
            voice.check(self.config)
            return voice
        return find_voice(str(voice), self.voice_folder, self.config)

    def voices(self) -> list[str]:
        """Names of the voices that came with the checkpoint."""
        return list_voices(self.voice_folder) if self.voice_folder else []


class TokenError(ValueError):
    """Tokens of the wrong type, shape or range."""


def check_tokens(tokens: np.ndarray, what: str, shape: tuple[int | None, ...], vocab: int) -> np.ndarray:
    """The tokens as int32. Raises TokenError unless they are integers of that shape (None: any) in [0, vocab)."""
    tokens = np.asarray(tokens)
    fits = tokens.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, tokens.shape, strict=True))
    if not fits or not np.issubdtype(tokens.dtype, np.integer):
        expected = "[" + ", ".join("any" if n is None else str(n) for n in shape) + "]"
        raise TokenError(f"{what} must be integers of shape {expected}, not {tokens.dtype} {list(tokens.shape)}")
    if tokens.size and (tokens.min() < 0 or tokens.max() >= vocab):
        raise TokenError(f"{what} must lie in 0 … {vocab - 1}, not {tokens.min()} … {tokens.max()}")
    return tokens.astype(np.int32)


def default_dtype() -> str:
    """Float32 on CPU, where bfloat16 products are slow; bfloat16 elsewhere."""
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def _keys(seed: int, stage: str) -> Array:
    """One key [1] for a stage of a generation."""
    return jax.random.fold_in(jax.random.key(seed), checkpoint.NETWORKS.index(stage))[None]
