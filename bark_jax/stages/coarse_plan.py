"""Which prompt every window of the coarse stage starts from: arithmetic on lengths, done on the host.

Axes: B batch, N semantic tokens, T frames, W windows.

Tokens are generated in windows of 60. A window's prompt is [256 semantic tokens, infer, up to 630 flat coarse tokens].
A window whose prompt only extends the one before it keeps the KV cache: the first 660 tokens of a clip without a voice
need one prefill of 256 positions and no other. Elsewhere the prompt is prefilled again, as positions restart.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from bark_jax.config import BarkConfig
from bark_jax.settings import Settings
from bark_jax.voices.voice import Voice

KEEP, PREFILL_SEMANTIC, PREFILL_ALL = 0, 1, 2  # what a window does before its first token


class Plan(NamedTuple):
    """What every window of a batch starts from."""

    action: np.ndarray  # [W] int32: KEEP, PREFILL_SEMANTIC (no coarse tokens yet) or PREFILL_ALL
    semantic: np.ndarray  # [B, N + max_semantic] int32: history and input, then pads
    semantic_begin: np.ndarray  # [B, W] int32: where the prompt's semantic part begins in `semantic`
    coarse_count: np.ndarray  # [B, W] int32: flat coarse tokens in the prompt


def coarse_steps(config: BarkConfig, semantic_length: int) -> int:
    """Flat coarse tokens generated for a number of semantic tokens."""
    codebooks = config.coarse.codebooks
    return codebooks * math.floor(semantic_length * config.coarse_per_semantic / codebooks)


def coarse_history(config: BarkConfig, voice: Voice | None, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """The end of a voice that prompts start from: semantic tokens [n] and flat coarse token ids [m], aligned."""
    nothing = np.zeros(0, np.int32)
    if voice is None:
        return nothing, nothing
    ratio = config.coarse_per_semantic
    flat = flatten_codes(config, voice.coarse)
    longest = math.floor(_max_history(config, settings) / ratio)
    count = min(longest, len(voice.semantic) // 2 * 2, math.floor(len(flat) / ratio))
    if count == 0:
        return nothing, nothing
    return voice.semantic[-count:], flat[-round(count * ratio) :][
        : -config.coarse.codebooks
    ]  # Suno drops the last frame


def plan_windows(
    config: BarkConfig,
    semantic: Sequence[np.ndarray],
    histories: Sequence[tuple[np.ndarray, np.ndarray]],
    settings: Sequence[Settings],
    capacity: int,
) -> Plan:
    """Plan the windows of a batch. `capacity`, semantic tokens per item, shapes the arrays for any lengths."""
    rules, ratio = config.coarse, config.coarse_per_semantic
    windows = np.arange(math.ceil(coarse_steps(config, capacity) / rules.window))
    generated = windows * rules.window
    reach = config.max_semantic_history + capacity + rules.max_semantic
    tokens = np.full((len(semantic), reach), rules.semantic_pad, np.int32)
    begin = np.zeros((len(semantic), len(windows)), np.int32)
    count = np.zeros_like(begin)
    extends = windows > 0
    for i, (new, (old, coarse), chosen) in enumerate(zip(semantic, histories, settings, strict=True)):
        tokens[i, : len(old) + len(new)] = np.concatenate([old, new])
        most = _max_history(config, chosen)
        index = len(old) + np.rint(generated / ratio).astype(np.int32)  # half to even
        begin[i] = np.maximum(0, index - math.floor(most / ratio))
        count[i] = np.minimum(most, len(coarse) + generated)
        extends = extends & (begin[i] == 0) & (count[i] == len(coarse) + generated)
    action = np.where(extends, KEEP, np.where(count.max(axis=0) == 0, PREFILL_SEMANTIC, PREFILL_ALL))
    return Plan(action.astype(np.int32), tokens, begin, count)


def _max_history(config: BarkConfig, settings: Settings) -> int:
    return settings.coarse_history or config.coarse.max_history


def capacity(config: BarkConfig, semantic_length: int) -> int:
    """Semantic tokens the buffers are made for: few sizes, so that few programs are compiled."""
    unit = config.semantic.max_new
    return unit * max(1, math.ceil(semantic_length / unit))


def turns(plan: Plan, steps: int, window: int, *, watched: bool) -> Iterator[tuple[int, int]]:
    """How the host leads the device through all steps: (what the window does first, the step to go on to).

    While somebody watches it stops after every window, else where the next prompt is prefilled.
    """
    begins = [w for w in range(math.ceil(steps / window)) if watched or plan.action[w] != KEEP]
    for begin, end in itertools.zip_longest(begins, begins[1:]):
        yield int(plan.action[begin]), steps if end is None else end * window


def flat_buffer(config: BarkConfig, histories: Sequence[np.ndarray], steps: int) -> np.ndarray:
    """Each row's history, ending at max_history, then room for the steps: int32 [B, max_history + steps]."""
    most = config.coarse.max_history
    flat = np.full((len(histories), most + steps), config.coarse.semantic_pad, np.int32)
    for row, history in zip(flat, histories, strict=True):
        row[most - len(history) : most] = history
    return flat


def flatten_codes(config: BarkConfig, codes: np.ndarray) -> np.ndarray:
    """Codes [2, T] → interleaved token ids [2·T]."""
    return (codes + _offsets(config)[:, None]).T.reshape(-1)


def unflatten_codes(config: BarkConfig, flat: np.ndarray) -> np.ndarray:
    """Interleaved token ids [2·T] → codes [2, T]."""
    return by_codebook(config, flat) - _offsets(config)[:, None]


def by_codebook(config: BarkConfig, flat: np.ndarray) -> np.ndarray:
    """What belongs to interleaved tokens, [2·T, …] → [2, T, …]."""
    rows = flat.reshape(-1, config.coarse.codebooks, *flat.shape[1:])
    return np.ascontiguousarray(rows.swapaxes(0, 1))


def _offsets(config: BarkConfig) -> np.ndarray:
    """The token id of each coarse codebook's first code, int32 [2]."""
    return config.semantic.vocab + config.codec.codebook_size * np.arange(config.coarse.codebooks, dtype=np.int32)
