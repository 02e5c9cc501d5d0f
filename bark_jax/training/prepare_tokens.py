"""Second step of preparing data: shards of audio → shards of tokens, for the three transformers to learn."""

from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from bark_jax.checkpoint import read_network
from bark_jax.config import BarkConfig
from bark_jax.models.encodec import Encodec
from bark_jax.stages.codec import encode_waveforms
from bark_jax.text import TextError, TextReader, load_tokenizer, truncation
from bark_jax.training.dataset import AudioClips, TokenManifest, expected_numbers, open_audio
from bark_jax.training.prepare_audio import StepProgress
from bark_jax.training.semantic_tokens import SemanticTokenizer, count_tokens
from bark_jax.training.shards import DataError, ShardWriter
from bark_jax.training.transcripts import LeftOut
from bark_jax.voices.tokens import rates_agree

TOGETHER = 256  # clips whose waveforms are in memory at once
SLACK = 3  # tokens by which tokenizers may differ in what they make of the ends of a clip

Tokens = npt.NDArray[np.int32]


def prepare_tokens(
    to: Path, model: Path, config: BarkConfig, tokenizer: SemanticTokenizer, *, source: str, codec: str,
    clusters: str, progress: StepProgress,
) -> tuple[TokenManifest, list[LeftOut]]:  # fmt: skip
    """Write the tokens of the recordings in a folder of data, beside them and in their order.

    Also returns what was left out: clips that are too short or too long for the model, and texts that its tokenizer
    cannot take whole. Raises DataError for a tokenizer that does not fit the model, CheckpointError and TextError when
    the model's files cannot be read, OSError when `to` cannot be written.
    """
    audio = open_audio(to, config)
    check_tokenizer(tokenizer, config)
    usable, left_out = _sort_out(audio, config, load_tokenizer(model))
    network = cast(Encodec, read_network(model, "codec", config))
    writer = ShardWriter(to, "tokens", np.int32)
    for start in range(0, len(usable), TOGETHER):
        progress("tokens", start, len(usable))
        clips = usable[start : start + TOGETHER]
        waveforms = [audio[clip] for clip in clips]
        for clip, waveform, codes in zip(clips, waveforms, encode_waveforms(network, waveforms), strict=True):
            semantic, codes = align(config, tokenizer(waveform, audio.sample_rate), codes, len(waveform))
            writer.add(
                np.concatenate([semantic, codes.ravel()]),
                name=audio.names[clip], text=audio.texts[clip], speaker=audio.speakers[clip],
                tokens=len(semantic), frames=codes.shape[1],
            )  # fmt: skip
    progress("tokens", len(usable), len(usable))
    writer.close()
    seconds = sum(line["frames"] for line in writer.index) / config.codec.frame_rate_hz
    numbers = expected_numbers(config)
    made = TokenManifest(
        source=source, codec=codec, semantic_tokens=tokenizer.fingerprint, clusters=clusters, clips=len(usable),
        seconds=seconds, **numbers,
    )  # fmt: skip
    return made, left_out


def check_tokenizer(tokenizer: SemanticTokenizer, config: BarkConfig) -> None:
    """Raise DataError unless its tokens are those that the model speaks."""
    if (tokenizer.vocab, tokenizer.rate_hz) != (config.semantic.vocab, config.semantic.rate_hz):
        raise DataError(
            f"the tokenizer makes {tokenizer.vocab} semantic tokens at {tokenizer.rate_hz} Hz, the model has "
            f"{config.semantic.vocab} at {config.semantic.rate_hz} Hz: fit one for this model"
        )


def align(config: BarkConfig, semantic: Tokens, codes: Tokens, samples: int) -> tuple[Tokens, Tokens]:
    """Tokens [M] and codes [K, T] of a clip, cut at the end to the same duration.

    T becomes M frames' worth, rounded: T = round(M · frame rate / token rate). Raises DataError when the tokens are not
    of the rate that the model has.
    """
    expected = count_tokens(samples, config.codec.sample_rate, config.semantic.rate_hz)
    if abs(len(semantic) - expected) > SLACK:
        seconds = samples / config.codec.sample_rate
        raise DataError(
            f"the tokenizer made {len(semantic)} semantic tokens of {seconds:.2f} s, not {expected}: its rate is not "
            f"{config.semantic.rate_hz} Hz"
        )
    semantic = semantic[:expected]
    return semantic, codes[:, : count_frames(config, len(semantic))]


def count_frames(config: BarkConfig, tokens: int) -> int:
    """Frames that are learned beside a number of semantic tokens; never more than the samples behind them hold."""
    return round(tokens * config.codec.frame_rate_hz / config.semantic.rate_hz)


def _sort_out(audio: AudioClips, config: BarkConfig, texts: Tokenizer) -> tuple[list[int], list[LeftOut]]:
    """The clips that the model can learn, and the others."""
    usable, left_out = [], []
    for clip, (name, text, samples) in enumerate(zip(audio.names, audio.texts, audio.samples.tolist(), strict=True)):
        reason = _length_problem(config, samples) or _text_problem(config, texts, text)
        if reason:
            left_out.append(LeftOut(step="tokens", file=name, line=None, reason=reason))
        else:
            usable.append(clip)
    return usable, left_out


def _length_problem(config: BarkConfig, samples: int) -> str | None:
    rules, seconds = config.semantic, samples / config.codec.sample_rate
    tokens = count_tokens(samples, config.codec.sample_rate, rules.rate_hz)
    if tokens > rules.max_new:
        return f"{seconds:.2f} s is too long: the model speaks at most {rules.max_new / rules.rate_hz:.2f} s at once"
    if tokens <= SLACK or not rates_agree(tokens, count_frames(config, tokens), config):
        return f"{seconds:.2f} s is too short: {tokens} semantic tokens and the codec's frames do not match"
    return None


def _text_problem(config: BarkConfig, tokenizer: Tokenizer, text: str) -> str | None:
    try:
        return truncation(TextReader(tokenizer, config.semantic).read(text)) or None
    except TextError as error:
        return str(error)
