"""Sizes, token ids, rates and window lengths of a Bark model.

Every number the networks or the pipeline need is a field here, with the published value as its default, so a
checkpoint may bring its own. Lengths are in tokens unless said otherwise.
"""

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from bark_jax.errors import ModelError
from bark_jax.quoting import did_you_mean

T = TypeVar("T")

NETWORKS = ("semantic", "coarse", "fine", "codec")
RANDOM = "random:"  # before the name of a preset: random weights instead of a checkpoint


class ConfigError(ModelError):
    """A configuration that cannot be read, or cannot be used."""


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """A causal transformer (semantic and coarse stages)."""

    layers: int
    heads: int
    width: int
    input_vocab: int
    output_vocab: int
    block_size: int = 1024  # positions
    bias: bool = False  # in every Linear and LayerNorm


@dataclass(frozen=True, kw_only=True)
class FineGPTConfig:
    """The non-causal transformer of the fine stage. Its LayerNorms always have a bias."""

    layers: int
    heads: int
    width: int
    vocab: int = 1056  # entries of each codebook's table
    codebooks: int = 8
    block_size: int = 1024  # positions, and the length of a window
    bias: bool = False  # in every Linear


@dataclass(frozen=True, kw_only=True)
class SemanticConfig:
    """Text → semantic tokens."""

    gpt: GPTConfig
    vocab: int = 10_000  # semantic tokens the stage may emit
    pad: int = 10_000  # history padding, and the end-of-sequence id
    text_offset: int = 10_048  # added to every WordPiece id
    text_pad: int = 129_595
    infer: int = 129_599  # "start generating"
    rate_hz: float = 49.9  # semantic tokens per second of audio
    max_text: int = 256  # text ids, and history tokens, in the prompt
    max_new: int = 768
    temperature: float = 0.7
    top_k: int | None = None
    top_p: float | None = None
    min_eos_p: float = 0.2  # stop once the end-of-sequence probability reaches this
    words: tuple[str, ...] | None = None  # all that it was trained on, as `text.word_form` has them; None: too many


@dataclass(frozen=True, kw_only=True)
class CoarseConfig:
    """Semantic tokens → the first EnCodec codebooks, interleaved."""

    gpt: GPTConfig
    codebooks: int = 2
    semantic_pad: int = 12_048
    infer: int = 12_050
    max_semantic: int = 256  # semantic tokens in the prompt
    max_history: int = 630  # flat coarse tokens in the prompt
    window: int = 60  # flat coarse tokens generated before the prompt slides
    temperature: float = 0.7
    top_k: int | None = None
    top_p: float | None = None


@dataclass(frozen=True, kw_only=True)
class FineConfig:
    """Coarse codes → all codes."""

    gpt: FineGPTConfig
    pad: int = 1024  # code of an empty position
    max_history: int = 512  # frames of a voice put in front
    hop: int = 512  # frames between two windows
    temperature: float = 0.5


@dataclass(frozen=True, kw_only=True)
class EncodecConfig:
    """The EnCodec codec: SEANet encoder and decoder around a residual vector quantiser."""

    sample_rate: int = 24_000  # Hz
    audio_channels: int = 1
    filters: int = 32  # channels next to the waveform
    width: int = 128  # channels of the latent vectors, and of a codeword
    ratios: tuple[int, ...] = (8, 5, 4, 2)  # up-sampling factors, decoder order
    kernel: int = 7  # first convolution
    last_kernel: int = 7
    residual_kernel: int = 3
    compress: int = 2  # a residual block narrows its channels by this factor
    lstm_layers: int = 2
    codebooks: int = 8
    codebook_size: int = 1024

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return math.prod(self.ratios)

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop


@dataclass(frozen=True, kw_only=True)
class BarkConfig:
    """A whole Bark model. Raises ConfigError when the stages do not fit each other."""

    semantic: SemanticConfig
    coarse: CoarseConfig
    fine: FineConfig
    codec: EncodecConfig = field(default_factory=EncodecConfig)

    def __post_init__(self) -> None:
        problems = list(_zeros(self)) or list(_contradictions(self))
        if problems:
            raise ConfigError("the configuration cannot be used: " + "; ".join(problems))

    @property
    def coarse_per_semantic(self) -> float:
        """Flat coarse tokens per semantic token (published: 75 / 49.9 · 2)."""
        return self.codec.frame_rate_hz / self.semantic.rate_hz * self.coarse.codebooks

    @property
    def max_semantic_history(self) -> int:
        """Semantic tokens that span `coarse.max_history` (published: 209)."""
        return math.floor(self.coarse.max_history / self.coarse_per_semantic)

    @classmethod
    def preset(cls, name: str) -> Self:
        """The preset of that name: tiny, small or large. Raises ConfigError."""
        presets = {"tiny": cls.tiny, "small": cls.small, "large": cls.large}
        if name not in presets:
            advice = did_you_mean(name, presets)
            raise ConfigError(f"there is no preset {name!r}: choose from {', '.join(presets)}{advice}")
        return presets[name]()

    @classmethod
    def small(cls) -> Self:
        """`suno/bark-small`."""
        return cls._published(layers=12, heads=12, width=768)

    @classmethod
    def large(cls) -> Self:
        """`suno/bark`."""
        return cls._published(layers=24, heads=16, width=1024)

    @classmethod
    def _published(cls, **size: Any) -> Self:
        return cls(
            semantic=SemanticConfig(gpt=GPTConfig(**size, input_vocab=129_600, output_vocab=10_048)),
            coarse=CoarseConfig(gpt=GPTConfig(**size, input_vocab=12_096, output_vocab=12_096)),
            fine=FineConfig(gpt=FineGPTConfig(**size)),
        )

    @classmethod
    def tiny(cls, *, bias: bool = False) -> Self:
        """For tests: the published rates, windows and rules, with small vocabularies, widths and depths."""
        size: dict[str, Any] = {"layers": 2, "heads": 2, "width": 32, "bias": bias}
        return cls(
            semantic=SemanticConfig(
                gpt=GPTConfig(**size, input_vocab=1100, output_vocab=210),
                vocab=200, pad=200, text_offset=210, text_pad=1095, infer=1099,
            ),
            coarse=CoarseConfig(
                gpt=GPTConfig(**size, input_vocab=336, output_vocab=336), semantic_pad=328, infer=330
            ),
            fine=FineConfig(gpt=FineGPTConfig(**size, vocab=72), pad=64),
            codec=EncodecConfig(filters=4, width=16, codebook_size=64),
        )  # fmt: skip

    def to_json(self) -> str:
        """Indented JSON, one object per stage."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """From parsed JSON of `to_json`. Raises ConfigError naming unknown and missing fields and wrong types."""
        return build(cls, values, "config")


_MAY_BE_ZERO = {"bias", "pad", "text_offset", "text_pad", "infer", "semantic_pad", "temperature"}


def _zeros(section: Any, path: str = "") -> typing.Iterator[str]:
    """Counts, lengths and rates that are 0."""
    for name in (f.name for f in dataclasses.fields(section)):
        value = getattr(section, name)
        if dataclasses.is_dataclass(value):
            yield from _zeros(value, f"{path}{name}.")
        elif name not in _MAY_BE_ZERO and (value == 0 or value == () or (isinstance(value, tuple) and 0 in value)):
            yield f"{path}{name} is {value}"


def _contradictions(config: BarkConfig) -> typing.Iterator[str]:
    semantic, coarse, fine, codec = config.semantic, config.coarse, config.fine, config.codec
    for name, gpt in (("semantic", semantic.gpt), ("coarse", coarse.gpt), ("fine", fine.gpt)):
        if gpt.width % gpt.heads:
            yield f"{name}.gpt has a width of {gpt.width} for {gpt.heads} heads"
    if max(semantic.text_pad, semantic.infer, semantic.pad) >= semantic.gpt.input_vocab:
        yield f"semantic token ids exceed semantic.gpt.input_vocab {semantic.gpt.input_vocab}"
    if max(semantic.vocab - 1, semantic.pad) >= semantic.gpt.output_vocab:
        yield f"semantic.vocab and semantic.pad exceed semantic.gpt.output_vocab {semantic.gpt.output_vocab}"
    if semantic.pad < semantic.vocab:
        yield f"semantic.pad {semantic.pad} is a semantic token: it must be at least semantic.vocab {semantic.vocab}"
    if semantic.min_eos_p > 1:
        yield f"semantic.min_eos_p {semantic.min_eos_p} is not a probability"
    for name, top_p in (("semantic", semantic.top_p), ("coarse", coarse.top_p)):
        if top_p is not None and top_p > 1:
            yield f"{name}.top_p {top_p} is not a probability"
    if semantic.max_text + semantic.max_new > semantic.gpt.block_size:
        yield "semantic.max_text + semantic.max_new exceed semantic.gpt.block_size"
    coarse_ids = semantic.vocab + coarse.codebooks * codec.codebook_size
    if max(coarse_ids - 1, coarse.semantic_pad, coarse.infer) >= coarse.gpt.input_vocab:
        yield f"coarse token ids exceed coarse.gpt.input_vocab {coarse.gpt.input_vocab}"
    if coarse_ids > coarse.gpt.output_vocab:
        yield f"coarse codes exceed coarse.gpt.output_vocab {coarse.gpt.output_vocab}"
    if coarse.max_semantic + 1 + coarse.max_history + coarse.window > coarse.gpt.block_size + 1:
        yield "the coarse prompt and window exceed coarse.gpt.block_size"
    if max(fine.pad, codec.codebook_size - 1) >= fine.gpt.vocab:
        yield f"fine.pad and the codes exceed fine.gpt.vocab {fine.gpt.vocab}"
    if fine.max_history + fine.hop > fine.gpt.block_size:
        yield "fine.max_history + fine.hop exceed fine.gpt.block_size"
    if fine.gpt.codebooks != codec.codebooks:
        yield f"fine.gpt.codebooks {fine.gpt.codebooks} differs from codec.codebooks {codec.codebooks}"
    if codec.audio_channels != 1:
        yield f"codec.audio_channels is {codec.audio_channels}, only 1 is supported"
    if codec.ratios[0] < codec.residual_kernel or codec.hop < codec.last_kernel:
        yield "codec.ratios are too small for its kernels: padding on the right would not be exact"
    if coarse.codebooks > codec.codebooks:
        yield "coarse.codebooks exceed codec.codebooks"


def build(kind: type[T], values: Any, path: str) -> T:
    """A dataclass of parsed JSON or TOML; `path` is its name in messages.

    Fields are dataclasses, strings, paths, numbers from 0 to 2³¹, booleans, tuples of any length of one of these, or
    one of these or None. Raises ConfigError naming unknown and missing fields, and those of a wrong type.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must be an object, not {type(values).__name__}")
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, kind))}
    required = {n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING}
    unknown, missing = sorted(values.keys() - fields.keys()), sorted(required - values.keys())
    if unknown or missing:
        problems = [f"there is no field {name}{did_you_mean(name, fields)}" for name in unknown]
        problems += [f"the field {name} is missing" for name in missing]
        raise ConfigError(f"{path}: {'; '.join(problems)}")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _parse(hints[name], value, f"{path}.{name}") for name, value in values.items()})


def _parse(hint: Any, value: Any, path: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type[Any], hint), value, path)
    if isinstance(hint, types.UnionType):  # X | None
        return None if value is None else _parse(typing.get_args(hint)[0], value, path)
    if isinstance(hint, types.GenericAlias):  # tuple[X, ...]
        item = typing.get_args(hint)[0]
        if not isinstance(value, list | tuple) or not value:
            raise ConfigError(f"{path} must be a list of {_PLURALS[item]}, not {value!r}")
        return tuple(_parse(item, x, path) for x in value)
    if hint is Path and type(value) is str:
        return Path(value)
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        raise ConfigError(f"{path} must be {hint.__name__}, not {value!r}")
    if hint in (int, float) and not (0 <= value < 2**31):
        raise ConfigError(f"{path} must be a number from 0 to 2³¹, not {value!r}")
    return value


_PLURALS = {int: "integers", str: "strings"}
