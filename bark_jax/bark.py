"""Bark: text → semantic tokens → coarse codes → fine codes → waveform."""

import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeAlias, cast, overload

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import nnx
from jax import Array
from jax.sharding import Mesh
from jax.typing import DTypeLike
from tokenizers import Tokenizer

from bark_jax import checkpoint
from bark_jax.audio import AudioError
from bark_jax.config import NETWORKS, RANDOM, BarkConfig
from bark_jax.generation import Generation, Tokens, warn_if_empty
from bark_jax.inputs import Options, TokenError, check_seed, check_tokens, naming_item, per_item
from bark_jax.loading import resolve
from bark_jax.models.encodec import Encodec
from bark_jax.models.fine_gpt import FineGPT
from bark_jax.models.gpt import GPT
from bark_jax.models.initialisers import random_networks
from bark_jax.models.parameters import Put, map_parameters
from bark_jax.settings import Settings, SettingsError
from bark_jax.sharding import check_mesh, pad_batch, put_parameter
from bark_jax.speech.ranking import Ranked, best_of
from bark_jax.speech.script import Pauses, Script, write_script
from bark_jax.speech.speaking import join_again, plan, respeak, start_stream
from bark_jax.speech.speech import Speech
from bark_jax.speech.streaming import Stream
from bark_jax.stages.coarse import generate_coarse
from bark_jax.stages.codec import decode_codes, decode_pieces, encode_waveform
from bark_jax.stages.fine import generate_fine
from bark_jax.stages.progress import Progress
from bark_jax.stages.sampling import fold_keys
from bark_jax.stages.semantic import generate_semantic, score_semantic
from bark_jax.text import builtin_tokenizer, encode_text, load_tokenizer
from bark_jax.voices.library import catalogue, find_voice
from bark_jax.voices.voice import Voice, VoiceError

_FULL = 0.715  # share of a clip that a piece of a long text fills at most, as estimated: 11 of Bark's 15.4 s

StageProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with (stage, done, in all): tokens of the semantic and coarse stages, windows of the fine stage, frames."""

VoiceSource: TypeAlias = Voice | Generation | Mapping[str, npt.ArrayLike] | str | Path | None

_GENERATORS: dict[str, Callable[..., list[np.ndarray]]] = {
    "semantic": generate_semantic,
    "coarse": generate_coarse,
    "fine": generate_fine,
}


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
        mesh: Mesh | None = None,
        offload: bool = False,
    ) -> None:
        """networks: where they are to be used: on the mesh if there is one; in NumPy arrays to be offloaded."""
        self.config = config
        self.semantic = cast(GPT, networks["semantic"])
        self.coarse = cast(GPT, networks["coarse"])
        self.fine = cast(FineGPT, networks["fine"])
        self.codec = cast(Encodec, networks["codec"])
        self.tokenizer = tokenizer
        self.voice_folder = voice_folder
        self.mesh = mesh
        self.offload = offload
        self.settings = Settings.defaults(config)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        dtype: str | None = None,
        param_dtype: str | None = None,
        mesh: Mesh | None = None,
        offload: bool = False,
        revision: str | None = None,
        token: str | None = None,
        progress: bool = False,
    ) -> Self:
        """Load a model.

        source: a converted checkpoint; a folder with Suno's or Hugging Face's files, or a hub id (`suno/bark-small`),
        which is converted once into the user's cache; `nano`, the small model that this package brings; or
        `random:tiny`, `random:small`, `random:large` for random weights. dtype: what the transformers compute in,
        "float32" or "bfloat16" (default: float32 on CPU, bfloat16 elsewhere; the codec is always float32); param_dtype:
        what they are stored in (default: dtype). mesh: several devices to share the work, see `bark_jax.sharding`.
        offload: keep the weights in the host's memory, and on the device only those of the stage at work (of no use on
        CPU, where they are copied or aliased in the same memory). revision, token: for the hub. Raises CheckpointError,
        ConfigError for an unknown preset, and ValueError for another dtype or an unusable mesh.
        """
        if str(source).startswith(RANDOM):
            config = BarkConfig.preset(str(source).removeprefix(RANDOM))
            return cls.from_config(
                config, jax.random.key(0), dtype=dtype, param_dtype=param_dtype, mesh=mesh, offload=offload
            )
        dtypes, mesh = _dtypes(dtype, param_dtype), check_mesh(mesh)
        folder = resolve(source, revision=revision, token=token, progress=progress)
        config = checkpoint.read_config(folder)
        put = _put(mesh, offload)
        networks = {name: checkpoint.read_network(folder, name, config, put=put, **dtypes) for name in NETWORKS}
        voices = folder / "voices"
        return cls(config, networks, load_tokenizer(folder), voice_folder=voices, mesh=mesh, offload=offload)

    @classmethod
    def from_config(
        cls,
        config: BarkConfig,
        key: Array,
        *,
        dtype: str | None = None,
        param_dtype: str | None = None,
        mesh: Mesh | None = None,
        offload: bool = False,
    ) -> Self:
        """A model with random weights (noise comes out) and the built-in tokenizer; options as in `from_pretrained`."""
        mesh = check_mesh(mesh)
        networks = random_networks(config, key, put=_put(mesh, offload), **_dtypes(dtype, param_dtype))
        return cls(config, networks, builtin_tokenizer(), mesh=mesh, offload=offload)

    @overload
    def generate(
        self, text: str, voice: VoiceSource = None, *, seed: int | None = None, settings: Settings | None = None,
        progress: StageProgress | None = None, **overrides: Any,
    ) -> Generation: ...  # fmt: skip

    @overload
    def generate(
        self, text: list[str] | tuple[str, ...], voice: VoiceSource | Sequence[VoiceSource] = None, *,
        seed: int | Sequence[int | None] | None = None, settings: Settings | Sequence[Settings | None] | None = None,
        progress: StageProgress | None = None, **overrides: Any,
    ) -> list[Generation]: ...  # fmt: skip

    def generate(
        self,
        text: str | list[str] | tuple[str, ...],
        voice: VoiceSource | Sequence[VoiceSource] = None,
        *,
        seed: int | Sequence[int | None] | None = None,
        settings: Settings | Sequence[Settings | None] | None = None,
        progress: StageProgress | None = None,
        **overrides: Any,
    ) -> Generation | list[Generation]:
        """Speak a text of one clip (about 15 seconds in the published models), or a batch of them.

        voice: a Voice, a Generation, a dict of the three arrays, a file, or the name of one (`v2/en_speaker_6`). seed,
        0 … 2³² − 1: the same one gives the same audio; by default a fresh one, kept in the result. settings: how to
        sample (default: the checkpoint's); overrides: single fields of it, such as `semantic_temperature=0.5`.
        progress: called as each stage goes on.

        A list of texts gives a list of clips, made side by side. Voice, seed and settings are then one for all, or a
        list or tuple with one for each; overrides are for all. Every clip is, token for token, what it would be alone
        (in float32 on CPU; elsewhere rounding may depend on the batch). A batch takes as long as its longest clip, and
        every new batch size compiles its own programs.

        Raises TextError, VoiceError, SettingsError, and ValueError for lists of another length; warns with
        TextTruncated and EmptyGeneration.
        """
        texts = list(text) if isinstance(text, list | tuple) else [text]
        given = {"voice": voice, "seed": seed, "settings": settings}
        choices = zip(*(per_item(name, value, len(texts)) for name, value in given.items()), strict=True)
        ids, options = [], []
        for index, (item, choice) in enumerate(zip(texts, choices, strict=True)):
            with naming_item(index, len(texts)):
                ids.append(encode_text(self.tokenizer, item, self.config.semantic))
                options.append(self.options(*choice, **overrides))
        results = self.generate_clips(texts, ids, options, progress) if texts else []
        for result in results:
            warn_if_empty(result.semantic, f"the clip (seed {result.seed})", stacklevel=2)
        return results if isinstance(text, list | tuple) else results[0]

    def generate_clips(
        self,
        texts: Sequence[str],
        ids: Sequence[np.ndarray],
        options: Sequence[Options],
        progress: StageProgress | None = None,
    ) -> list[Generation]:
        """`generate` for texts that are encoded and choices that are made: at least one of each, and as many."""
        tokens, timings = self.generate_tokens(ids, options, progress)
        started = time.perf_counter()
        waveforms = self._run(
            "codec", [t.fine for t in tokens], options, partial(progress, "codec") if progress else None
        )
        timings["codec"] = time.perf_counter() - started
        rate = self.config.codec.sample_rate
        return [
            Generation(text=t, seed=o.seed, sample_rate=rate, waveform=w, timings=timings, **made._asdict())
            for t, o, w, made in zip(texts, options, waveforms, tokens, strict=True)
        ]

    def generate_tokens(
        self, ids: Sequence[np.ndarray], options: Sequence[Options], progress: StageProgress | None = None
    ) -> tuple[list[Tokens], dict[str, float]]:
        """`generate_clips` without the codec: the tokens of each item, and the seconds of each stage."""
        results: dict[str, list[np.ndarray]] = {}
        timings: dict[str, float] = {}
        inputs = ids
        for stage in Tokens._fields:
            started = time.perf_counter()
            inputs = self._run(stage, inputs, options, partial(progress, stage) if progress else None)
            results[stage], timings[stage] = list(inputs), time.perf_counter() - started
        return [Tokens(*made) for made in zip(*results.values(), strict=True)], timings

    def _run(
        self, stage: str, inputs: Sequence[np.ndarray], options: Sequence[Options], progress: Progress | None
    ) -> list[np.ndarray]:
        """One stage over a batch; copies of its first item fill up the mesh, and are dropped from the result."""
        count = len(inputs)
        inputs, options = pad_batch(inputs, self.mesh), pad_batch(options, self.mesh)
        network = self._network(stage)
        if stage == "codec":
            made = decode_codes(cast(Encodec, network), self.config, inputs, progress)
        else:
            keys = _keys([option.seed for option in options], stage)
            settings, voices = [option.settings for option in options], [option.voice for option in options]
            made = _GENERATORS[stage](network, self.config, inputs, keys, settings, voices, progress)
        return [np.array(row) for row in made[:count]]  # copies: a view keeps the whole batch in memory

    def _network(self, name: str) -> nnx.Module:
        """A network on its devices: if offloaded a copy, which is freed when the caller drops it."""
        network = cast(nnx.Module, getattr(self, name))
        return map_parameters(_put(self.mesh, offload=False), network) if self.offload else network

    def options(self, voice: VoiceSource, seed: int | None, settings: Settings | None, **overrides: Any) -> Options:
        """The choices for one item, checked, with a fresh seed if there is none. Raises as `generate` does."""
        if seed is None:
            if self.mesh is not None and self.mesh.is_multi_process:
                raise SettingsError("give a seed: the processes of a mesh must all use the same one")
            seed = secrets.randbits(31)
        check_seed(seed)
        if not isinstance(settings, Settings | None):
            raise SettingsError(f"settings must be a Settings, not {type(settings).__name__}")
        settings = (self.settings if settings is None else settings).replace(**overrides)
        settings.check(self.config)
        return Options(voice=self.find_voice(voice), seed=seed, settings=settings)

    def cut(
        self, text: str, *, language: str = "en", speakers: Collection[str] = (), pauses: Pauses | None = None
    ) -> Script:
        """The pieces that `speak` makes of a text (see `bark_jax.speech.script`). Raises TextError."""
        return write_script(
            text,
            count_tokens=lambda part: len(self.tokenizer.encode(part, add_special_tokens=False).ids),
            max_tokens=self.config.semantic.max_text,
            # No piece is asked to be shorter than a second, whatever the model.
            max_seconds=max(1.0, _FULL * self.config.semantic.max_new / self.config.semantic.rate_hz),
            language=language,
            speakers=speakers,
            pauses=pauses or Pauses(),
        )

    def speak(
        self,
        text: str,
        voice: VoiceSource = None,
        *,
        voices: Mapping[str, VoiceSource] | None = None,
        seed: int | None = None,
        settings: Settings | None = None,
        progress: StageProgress | None = None,
        **overrides: Any,
    ) -> Speech:
        """Speak a text of any length: cut into pieces, each a clip, which are joined with pauses.

        voice: that of the text; without one, that of its first piece is carried on. voices: those of speakers, whose
        lines begin with "NAME: "; None for one who keeps that of his own first piece. seed: of which every piece's seed
        is derived. settings: of all pieces. overrides: fields of `Settings`, such as `semantic_temperature=0.5`, and of
        `Delivery`, such as `keep_voice="rolling"`, `language="de"`, `batch_size=8`, `best_of=4`. progress: as in
        `generate`, for every batch, and with ("pieces", done, all).

        Raises TextError, VoiceError, SettingsError; warns with EmptyGeneration of a piece without a sound.
        """
        job = plan(self, text, voice, voices or {}, seed, settings, overrides)
        stream = start_stream(self, job, progress, ahead=0)
        return stream.speech(list(stream))

    def stream(
        self,
        text: str,
        voice: VoiceSource = None,
        *,
        voices: Mapping[str, VoiceSource] | None = None,
        seed: int | None = None,
        settings: Settings | None = None,
        progress: StageProgress | None = None,
        **overrides: Any,
    ) -> Stream:
        """`speak`, heard while it is made: `for chunk in bark.stream(text)`, each float32 of about a second.

        A thread works ahead, and calls `progress`. Together the chunks are the waveform of `speak`. Bad input raises at
        once; an error in the work, when the iteration gets there.
        """
        return start_stream(self, plan(self, text, voice, voices or {}, seed, settings, overrides), progress)

    def respeak(
        self,
        speech: Speech | str | Path,
        piece: int,
        *,
        text: str | None = None,
        seed: int | None = None,
        settings: Settings | None = None,
        progress: StageProgress | None = None,
        **overrides: Any,
    ) -> Speech:
        """A speech, or one in a file of `Speech.save_report`, with one piece, counted from 0, spoken anew.

        By default with its voice, settings and text, and the seed of its next take. All other pieces stay as they are,
        even those that had this one for a voice. Raises SpeechError, TextError, SettingsError.
        """
        speech = speech if isinstance(speech, Speech) else Speech.load_report(speech, self.config)
        return respeak(self, speech, piece, text, seed, settings, overrides, progress)

    def load_speech(self, path: str | Path) -> Speech:
        """The speech in a file of `Speech.save_report`, its audio decoded again. Raises SpeechError."""
        speech = Speech.load_report(path, self.config)
        return join_again(self, speech, speech.pieces)

    def best_of(
        self,
        text: str,
        n: int = 4,
        voice: VoiceSource = None,
        *,
        seed: int | None = None,
        keep_all: bool = False,
        settings: Settings | None = None,
        progress: StageProgress | None = None,
        **overrides: Any,
    ) -> Ranked:
        """Speak a text n times, as one batch, and rank the takes by the score of `bark_jax.speech.ranking`.

        Each take has its own seed, derived from `seed`. keep_all: return all takes, not only the best. Otherwise as
        `generate`.
        """
        return best_of(self, text, self.options(voice, seed, settings, **overrides), n, keep_all, progress)

    def score_semantic(
        self, ids: Sequence[np.ndarray], semantic: Sequence[np.ndarray], options: Sequence[Options]
    ) -> list[float | None]:
        """The mean log-probability, in nats, of each item's semantic tokens given its text and voice; None if empty."""
        gpt = cast(GPT, self._network("semantic"))
        texts, tokens = pad_batch(ids, self.mesh), pad_batch(semantic, self.mesh)
        voices = [option.voice for option in pad_batch(options, self.mesh)]
        return score_semantic(gpt, self.config, texts, tokens, voices)[: len(ids)]

    def text_to_semantic(
        self,
        text: str,
        *,
        voice: VoiceSource = None,
        seed: int = 0,
        settings: Settings | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Text → semantic tokens, int32 [N], 0 ≤ N ≤ `max_new`. Raises and warns as `generate` does."""
        ids = encode_text(self.tokenizer, text, self.config.semantic)
        options = self.options(voice, seed, settings)
        tokens = self._run("semantic", [ids], [options], progress)[0]
        warn_if_empty(tokens, f"the clip (seed {options.seed})", stacklevel=2)
        return tokens

    def semantic_to_coarse(
        self,
        semantic: np.ndarray,
        *,
        voice: VoiceSource = None,
        seed: int = 0,
        settings: Settings | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Semantic tokens, int [N] → the first two codebooks, int32 [2, T]. Raises TokenError."""
        semantic = check_tokens(semantic, "semantic tokens", (None,), self.config.semantic.vocab)
        return self._run("coarse", [semantic], [self.options(voice, seed, settings)], progress)[0]

    def coarse_to_fine(
        self,
        coarse: np.ndarray,
        *,
        voice: VoiceSource = None,
        seed: int = 0,
        settings: Settings | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """The first codebooks, int [G, T] with 1 ≤ G < K → all, int32 [K, T]. Raises TokenError.

        The coarse stage makes two; the others may come from anywhere.
        """
        codec = self.config.codec
        coarse = check_tokens(coarse, "coarse codes", (None, None), codec.codebook_size)
        if not 1 <= len(coarse) < codec.codebooks:
            raise TokenError(f"coarse codes must have 1 … {codec.codebooks - 1} codebooks, not {len(coarse)}")
        return self._run("fine", [coarse], [self.options(voice, seed, settings)], progress)[0]

    def decode(self, codes: np.ndarray, *, progress: Progress | None = None) -> np.ndarray:
        """The first or all codebooks' codes, int [≤ K, T] → waveform, float32 [T · hop], −1 … 1. Raises TokenError."""
        codec = self.config.codec
        codes = check_tokens(codes, "codes", (None, None), codec.codebook_size)
        if not 1 <= len(codes) <= codec.codebooks:
            raise TokenError(f"codes must have 1 … {codec.codebooks} codebooks, not {len(codes)}")
        return self._run("codec", [codes], [], progress)[0]

    def decode_pieces(self, codes: np.ndarray) -> Iterator[np.ndarray]:
        """`decode` of int32 [K, T] in pieces of 75 frames: float32 [≤ 75 · hop] each time."""
        codec = cast(Encodec, self._network("codec"))
        return (rows[0] for rows in decode_pieces(codec, pad_batch([codes], self.mesh)))

    def encode(self, waveform: np.ndarray) -> np.ndarray:
        """Mono waveform → codes, int32 [K, ⌈N / hop⌉].

        waveform: float [N] at the codec's sample rate, −1 … 1, as from `audio.read_audio`. Raises AudioError.
        """
        waveform = np.asarray(waveform)
        if waveform.ndim != 1 or not waveform.size or not np.issubdtype(waveform.dtype, np.floating):
            raise AudioError(f"a waveform is a row of float samples, not {waveform.dtype} {list(waveform.shape)}")
        if not np.isfinite(waveform).all():
            raise AudioError("the waveform has samples that are not finite numbers")
        return encode_waveform(cast(Encodec, self._network("codec")), waveform)

    def find_voice(self, voice: VoiceSource) -> Voice | None:
        """Whatever `generate` takes for a voice, checked against this model. Raises VoiceError.

        A name is looked for among the voices that came with the model, then in the user's library.
        """
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
        """Names that `generate` knows: the voices that came with the checkpoint, then those of the user's library."""
        return [entry.name for entry in catalogue(self.voice_folder, published=False)]


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


def _put(mesh: Mesh | None, offload: bool) -> Put:
    """Where parameters go: they stay in NumPy arrays to be offloaded."""
    return (lambda _, value: value) if offload else partial(put_parameter, mesh=mesh)


def _keys(seeds: Sequence[int], stage: str) -> Array:
    """One key for this stage of each item's generation, [B]."""
    keys = jax.vmap(jax.random.key)(np.array(seeds, np.uint32))
    return fold_keys(keys, NETWORKS.index(stage))
