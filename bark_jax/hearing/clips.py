"""Clips and speeches with the times of their words."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer

from bark_jax.engine import Engine
from bark_jax.frontend import Frontend
from bark_jax.generation import Generation, Tokens
from bark_jax.hearing.timing import LEAD, WordTime, find_spans, follow, time_words
from bark_jax.inputs import Options
from bark_jax.speech.joining import Join, Trimmer
from bark_jax.speech.speaking import join_again
from bark_jax.speech.speech import Speech
from bark_jax.text import normalize


def time_clips(
    engine: Engine, frontend: Frontend, given: Sequence[str], clips: Sequence[Generation], options: Sequence[Options],
    *, trim_tail: bool = False,
) -> list[Generation]:  # fmt: skip
    """The clips with `words` and `tail_seconds`; trim_tail: without their tails.

    given: the callers' texts, which the spans of words are of. One pass of the semantic network for each clip.
    """
    made = []
    for text, clip, option in zip(given, clips, options, strict=True):
        words, tail = _times(engine, frontend, clip.text, clip.semantic, clip.waveform, option)
        if trim_tail and tail:
            clip = _cut(engine, clip, tail)
        made.append(dataclasses.replace(clip, words=tuple(find_spans(words, text)), tail_seconds=tail))
    return made


def time_speech(engine: Engine, frontend: Frontend, speech: Speech, text: str, *, trim_tail: bool = False) -> Speech:
    """The speech with `words`, in the joined audio's time, and the `tails` of its pieces. text: as for `time_clips`.

    trim_tail: without the tails; they are what was found.
    """
    timed = _time_speech(engine, frontend, speech, text)
    tails = timed.tails or ()
    if not (trim_tail and any(tails)):
        return timed
    pieces = [
        dataclasses.replace(said, tokens=_cut_tokens(engine, said.tokens, tail)) if tail else said
        for said, tail in zip(speech.pieces, tails, strict=True)
    ]
    again = _time_speech(engine, frontend, join_again(engine, speech, pieces), text)
    return dataclasses.replace(again, tails=tails)


def _time_speech(engine: Engine, frontend: Frontend, speech: Speech, text: str) -> Speech:
    words: list[WordTime] = []
    tails = []
    for said in speech.pieces:
        option = Options(voice=said.voice, seed=said.seed, settings=said.settings)
        waveform = engine.decode(said.tokens.fine) if said.tokens.fine.size else np.zeros(0, np.float32)
        own, tail = _times(engine, frontend, said.piece.text, said.tokens.semantic, waveform, option)
        shift = said.start - _trimmed(waveform, speech.join, speech.sample_rate)
        words += [_moved(word, shift, said.start, said.end) for word in own]
        tails.append(tail)
    return dataclasses.replace(speech, words=tuple(find_spans(words, text)), tails=tuple(tails))


def _times(
    engine: Engine, frontend: Frontend, text: str, semantic: np.ndarray, waveform: np.ndarray, option: Options
) -> tuple[list[WordTime], float]:
    if not len(semantic):
        return [], 0.0
    text = normalize(text)
    offsets = _offsets(frontend.tokenizer, text)
    ids = frontend.reader.read(text).ids
    (attention,) = engine.attention_to_text([ids], [semantic], [option])
    config = engine.config
    return time_words(follow(attention), text, offsets, config.semantic.rate_hz, waveform, config.codec.sample_rate)


def _offsets(tokenizer: Tokenizer, text: str) -> list[tuple[int, int]]:
    return list(tokenizer.encode(text, add_special_tokens=False).offsets)


def _cut(engine: Engine, clip: Generation, tail: float) -> Generation:
    """The clip without its tail."""
    tokens = _cut_tokens(engine, clip.tokens, tail)
    samples = tokens.fine.shape[1] * engine.config.codec.hop
    return dataclasses.replace(clip, **tokens._asdict(), waveform=clip.waveform[:samples])


def _cut_tokens(engine: Engine, tokens: Tokens, tail: float) -> Tokens:
    """The tokens without the last seconds, less what a voice lags behind."""
    config = engine.config
    count = min(len(tokens.semantic), round(len(tokens.semantic) - tail * config.semantic.rate_hz) + LEAD)
    frames = round(count * config.codec.frame_rate_hz / config.semantic.rate_hz)
    return Tokens(tokens.semantic[:count], tokens.coarse[:, :frames], tokens.fine[:, :frames])


def _trimmed(waveform: np.ndarray, join: Join, sample_rate: int) -> float:
    """Seconds that joining cuts off the beginning of a piece."""
    trimmer = Trimmer(join, sample_rate)
    kept = trimmer.push(waveform)
    if not trimmer.begun:
        return 0.0
    return (len(waveform) - len(kept) - len(trimmer.silence) - len(trimmer.rest)) / sample_rate


def _moved(word: WordTime, shift: float, start: float, end: float) -> WordTime:
    first, last = (min(max(seconds + shift, start), end) for seconds in (word.start, word.end))
    return dataclasses.replace(word, start=first, end=last)
