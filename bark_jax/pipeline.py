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
import numpy.typing as npt
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from tokenizers import Tokenizer

from bark_jax import checkpoint
from bark_jax.audio import AudioError, write_audio
from bark_jax.config import BarkConfig
from bark_jax.hub import resolve
from bark_jax.models.encodec import Encodec
from bark_jax.models.fine_gpt import FineGPT
from bark_jax.models.gpt import GPT
from bark_jax.settings import Settings, SettingsError
from bark_jax.stages.coarse import generate_coarse
from bark_jax.stages.codec import decode_codes, encode_waveform
from bark_jax.stages.fine import generate_fine
from bark_jax.stages.progress import Progress
from bark_jax.stages.semantic import generate_semantic
from bark_jax.text import builtin_tokenizer, encode_text, load_tokenizer
from bark_jax.voice import Voice, VoiceError, find_voice, list_voices

RANDOM = "random:"  # before the name of a preset: random weights instead of a checkpoint

StageProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with (stage, done, in all): tokens of the semantic and coarse stages, windows of the fine stage, frames."""


class TokenError(ValueError):
    """Tokens of the wrong type, shape or range."""


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


VoiceSource: TypeAlias = Voice | Generation | Mapping[str, npt.ArrayLike] | str | Path | None


class Bark:
    """A Bark model: four networks, a tokenizer, its voices and default settings.

    The stages are methods of their own, with NumPy arrays in and out. Each takes the seed of the whole generation and
    derives its own randomness from it: run one after another with the seed of `generate`, they are `generate`.
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
        for the hub. Raises CheckpointError, ConfigError for an unknown preset, and ValueError for another dtype.
        """
        if str(source).startswith(RANDOM):
            config = BarkConfig.preset(str(source).removeprefix(RANDOM))
            return cls.from_config(config, jax.random.key(0), dtype=dtype, param_dtype=param_dtype)
        dtypes = _dtypes(dtype, param_dtype)
        folder = resolve(source, revision=revision, token=token, progress=progress)
        config = checkpoint.read_config(folder)
        networks = {name: checkpoint.read_network(folder, name, config, **dtypes) for name in checkpoint.NETWORKS}
        return cls(config, networks, load_tokenizer(folder), voice_folder=folder / "voices")

    @classmethod
    def from_config(
        cls, config: BarkConfig, key: Array, *, dtype: str | None = None, param_dtype: str | None = None
    ) -> Self:
        """A model with random weights (noise comes out) and the built-in tokenizer."""
        networks = checkpoint.random_networks(config, key, **_dtypes(dtype, param_dtype))
        return cls(config, networks, builtin_tokenizer())

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
        """Speak a text of up to about 15 seconds.

        voice: a Voice, a Generation, a dict of the three arrays, a file, or the name of one (`v2/en_speaker_6`). seed,
        0 … 2³² − 1: the same one gives the same audio; by default a fresh one, kept in the result. settings: how to
        sample (default: the checkpoint's); overrides: single fields of it, such as `semantic_temperature=0.5`.
        progress: called as each stage goes on. Raises TextError, VoiceError and SettingsError; warns with TextTruncated
        and EmptyGeneration.
        """
        seed = secrets.randbits(31) if seed is None else seed
        check_seed(seed)
        settings = (settings or self.settings).replace(**overrides)
        settings.check(self.config)
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
        settings = settings or self.settings
        settings.check(self.config)
        semantic = check_tokens(semantic, "semantic tokens", (None,), self.config.semantic.vocab)
        return generate_coarse(
            self.coarse, self.config, [semantic], _keys(seed, "coarse"), [settings],
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
        if not 1 <= len(codes) <= codec.codebooks:
            raise TokenError(f"codes must have 1 … {codec.codebooks} codebooks, not {len(codes)}")
        frames = codes.shape[1]
        if progress:
            progress(0, frames)
        waveform = decode_codes(self.codec, self.config, [codes])[0]
        if progress:
            progress(frames, frames)
        return waveform

    def encode(self, waveform: np.ndarray) -> np.ndarray:
        """Mono waveform, float [N] at 24 kHz within −1 … 1 (as from `audio.read_audio`) → codes, int32 [8, ⌈N / 320⌉].

        Raises AudioError.
        """
        waveform = np.asarray(waveform)
        if waveform.ndim != 1 or not waveform.size or not np.issubdtype(waveform.dtype, np.floating):
            raise AudioError(f"a waveform is a row of float samples, not {waveform.dtype} {list(waveform.shape)}")
        if not np.isfinite(waveform).all():
            raise AudioError("the waveform has samples that are not finite numbers")
        return encode_waveform(self.codec, waveform)

    def find_voice(self, voice: VoiceSource) -> Voice | None:
        """Whatever `generate` takes for a voice, checked against this model. Raises VoiceError."""
        if isinstance(voice, Generation):
            voice = voice.as_voice()
        if voice is None:
            return None
        if isinstance(voice, Voice):
            voice.check(self.config)
            return voice
        if isinstance(voice, Mapping):
            return Voice.from_arrays(voice, self.config)
        if isinstance(voice, str | Path):
            return find_voice(str(voice), self.voice_folder, self.config)
        raise VoiceError(f"a voice is a name, a path, a Voice, a Generation or a dict, not {type(voice).__name__}")

    def voices(self) -> list[str]:
        """Names of the voices that came with the checkpoint."""
        return list_voices(self.voice_folder) if self.voice_folder else []


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


def check_seed(seed: int) -> None:
    """Raise SettingsError unless the seed is one that makes a key of its own."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise SettingsError(f"seed must be an integer in 0 … 2³² − 1, not {seed!r}")


def default_dtype() -> str:
    """Float32 on CPU, where bfloat16 products are slow; bfloat16 elsewhere."""
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def _dtypes(dtype: str | None, param_dtype: str | None) -> dict[str, DTypeLike]:
    """What the networks compute in and are stored in."""
    dtype = dtype or default_dtype()
    for name in (dtype, param_dtype or dtype):
        if name not in checkpoint.DTYPES:
            raise ValueError(f"a dtype is one of {', '.join(checkpoint.DTYPES)}, not {name!r}")
    return {"dtype": jnp.dtype(dtype), "param_dtype": jnp.dtype(param_dtype or dtype)}


def _keys(seed: int, stage: str) -> Array:
    """One key [1] for a stage of a generation. Raises SettingsError."""
    check_seed(seed)
    return jax.random.fold_in(jax.random.key(seed), checkpoint.NETWORKS.index(stage))[None]
