"""Bark's generation rules over transformers' modules: plain, slow, one clip at a time.

The independent statement that the stages are compared with. Lengths and rates are written out as published (every
config in the tests keeps them); only sizes of vocabularies and special token ids are read from the configuration. A
window's key-value cache is never carried into the next window.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from transformers import DynamicCache
from transformers.models.bark.modeling_bark import BarkCausalModel, BarkFineModel

from bark_jax.config import BarkConfig
from bark_jax.voices.voice import Voice

COARSE_PER_SEMANTIC = 75 / 49.9 * 2  # flat coarse tokens per semantic token

Place = tuple[int, ...] | None
"""Where in the result a token stands; None if it will not be in it."""

Choose = Callable[[np.ndarray, Place], int]

TIE = 1e-5  # of the largest logit: sums in another order differ by a tenth of that


class Decoded(NamedTuple):
    """What a stage generated, and how far each chosen logit led: a mismatch where it hardly did is a rounding tie."""

    tokens: np.ndarray
    margins: np.ndarray


def greedy(logits: np.ndarray, place: Place = None) -> int:
    """The first maximum."""
    return int(np.argmax(logits))


class GreedyUpToTies:
    """The first maximum, or the token of another result that lies within `TIE` of it."""

    def __init__(self, other: np.ndarray) -> None:
        self._other = other
        self.ties: list[Place] = []

    def __call__(self, logits: np.ndarray, place: Place = None) -> int:
        best = greedy(logits)
        other = best if place is None else int(self._other[place])
        if other == best or logits[best] - logits[other] > TIE * np.abs(logits).max():
            return best
        self.ties.append(place)
        return other


@torch.inference_mode()
def generate_semantic(
    model: BarkCausalModel,
    config: BarkConfig,
    text_ids: np.ndarray,
    voice: Voice | None = None,
    *,
    steps: int = 768,
    allow_early_stop: bool = True,
    choose: Choose = greedy,
    ends: Callable[[np.ndarray], bool] = lambda logits: False,
) -> Decoded:
    """Text ids (without offset) → semantic tokens [N]. Without `allow_early_stop` end of sequence cannot be drawn.

    ends: whether the logits, those of the end last, end the sequence whichever token is chosen (Suno's `min_eos_p`).
    """
    ids = config.semantic
    text = _padded_right(np.asarray(text_ids)[:256] + ids.text_offset, 256, ids.text_pad)
    past = _padded_right(np.asarray(voice.semantic if voice else [])[-256:], 256, ids.pad)
    embed = model.input_embeds_layer
    prompt = torch.cat([embed(_tensor(text)) + embed(_tensor(past)), embed(_tensor([ids.infer]))])

    cache = DynamicCache()
    logits = model(inputs_embeds=prompt[None], past_key_values=cache, use_cache=True).logits[0, -1].numpy()
    tokens, margins = [], []
    while True:
        allowed = np.append(logits[: ids.vocab], logits[ids.pad]) if allow_early_stop else logits[: ids.vocab]
        token = choose(allowed, (len(tokens),))
        margins.append(_margin(allowed))
        if token == ids.vocab or (allow_early_stop and ends(allowed)):
            break
        tokens.append(token)
        if len(tokens) == steps:
            break
        logits = _next_logits(model, token, cache)
    return Decoded(np.array(tokens, int), np.array(margins))


@torch.inference_mode()
def generate_coarse(
    model: BarkCausalModel,
    config: BarkConfig,
    semantic: np.ndarray,
    voice: Voice | None = None,
    *,
    max_history: int = 630,
    window: int = 60,
    choose: Choose = greedy,
) -> Decoded:
    """Semantic tokens [N] → coarse codes [2, T]."""
    first_id, size = config.semantic.vocab, config.codec.codebook_size
    max_semantic = math.floor(max_history / COARSE_PER_SEMANTIC)  # 209 when max_history is 630
    past_semantic, past_coarse = _coarse_history(config, voice, max_semantic)
    all_semantic = np.concatenate([past_semantic, semantic]).astype(int)
    steps = 2 * math.floor(len(semantic) * COARSE_PER_SEMANTIC / 2)

    tokens: list[int] = []
    margins: list[float] = []
    while len(tokens) < steps:
        at = len(past_semantic) + round(len(tokens) / COARSE_PER_SEMANTIC)
        part = _padded_right(all_semantic[max(0, at - max_semantic) :][:256], 256, config.coarse.semantic_pad)
        flat = np.concatenate([past_coarse, tokens])[-max_history:]
        prompt = _tensor(np.concatenate([part, [config.coarse.infer], flat]))

        cache = DynamicCache()
        logits = model(prompt[None], past_key_values=cache, use_cache=True).logits[0, -1].numpy()
        for _ in range(window):
            codebook = len(tokens) % 2
            start = first_id + codebook * size
            allowed = logits[start : start + size]
            tokens.append(start + choose(allowed, (codebook, len(tokens) // 2)))
            margins.append(_margin(allowed))
            if len(tokens) == steps:
                break
            logits = _next_logits(model, tokens[-1], cache)
    frames = np.array(tokens, int).reshape(-1, 2)
    return Decoded((frames - first_id - np.array([0, size])).T, np.array(margins))


@torch.inference_mode()
def generate_fine(
    model: BarkFineModel,
    config: BarkConfig,
    coarse: np.ndarray,
    voice: Voice | None = None,
    *,
    choose: Choose = greedy,
) -> Decoded:
    """The first G codebooks, codes [G, T] → all codes [8, T]."""
    given, frames = coarse.shape
    pad = config.fine.pad
    past = voice.fine[:, -512:].astype(int) if voice else np.zeros((8, 0), int)
    past_frames = past.shape[1]
    codes = np.hstack([past, np.vstack([coarse, np.full((8 - given, frames), pad)])])
    if codes.shape[1] < 1024:
        codes = np.hstack([codes, np.full((8, 1024 - codes.shape[1]), pad)])
    length = codes.shape[1]

    margins: list[float] = []
    windows = max(0, math.ceil((frames - (1024 - past_frames)) / 512)) + 1
    fills = [min(past_frames + 512 * w, length - 512) for w in range(windows)] + [past_frames + frames]
    for w, (fill, end) in enumerate(itertools.pairwise(fills)):
        start = min(512 * w, length - 1024)
        window = codes[:, start : start + 1024].copy()
        for codebook in range(given, 8):
            logits = model(codebook, _tensor(window.T)[None]).logits[0, :, : config.codec.codebook_size].numpy()
            for position in range(fill - start, 1024):
                at = start + position
                place = (codebook, at - past_frames) if at < end else None  # the next window fills in the rest again
                window[codebook, position] = choose(logits[position], place)
                margins.append(_margin(logits[position]))
        codes[given:, fill : start + 1024] = window[given:, fill - start :]
    return Decoded(codes[:, past_frames : past_frames + frames], np.array(margins))


def _coarse_history(config: BarkConfig, voice: Voice | None, max_semantic: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of a voice that the coarse model hears: semantic tokens, and flat coarse tokens two short of them."""
    if voice is None:
        return np.zeros(0, int), np.zeros(0, int)
    semantic, coarse = voice.semantic.astype(int), voice.coarse.astype(int)
    size = config.codec.codebook_size
    flat = np.stack([coarse[0], coarse[1] + size], axis=1).reshape(-1) + config.semantic.vocab
    n_semantic = min(max_semantic, len(semantic) - len(semantic) % 2, math.floor(len(flat) / COARSE_PER_SEMANTIC))
    n_coarse = round(n_semantic * COARSE_PER_SEMANTIC)
    return semantic[len(semantic) - n_semantic :], flat[len(flat) - n_coarse :][:-2]


def _next_logits(model: BarkCausalModel, token: int, cache: DynamicCache) -> np.ndarray:
    return model(_tensor([[token]]), past_key_values=cache, use_cache=True).logits[0, -1].numpy()


def _margin(logits: np.ndarray) -> float:
    second, first = np.partition(logits, -2)[-2:]
    return float(first - second)


def _padded_right(values: np.ndarray, length: int, pad: int) -> np.ndarray:
    return np.concatenate([values, np.full(length - len(values), pad)]).astype(int)


def _tensor(values: np.ndarray | list) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values, np.int64))
