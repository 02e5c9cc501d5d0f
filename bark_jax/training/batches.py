"""Tokens and waveforms of clips → training examples, on the host, laid out as generation lays out its prompts.

An example is the batch's NamedTuple without the batch axis; `stack` makes batches of them. A clip is a `Voice`: the
three token sequences of one recording. What is random is drawn from a NumPy generator of the caller.

Axes: B batch, P text positions of the prompt, M semantic tokens, L positions of a coarse example, K codebooks,
W frames of a fine window, N samples.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from bark_jax.config import BarkConfig
from bark_jax.errors import TrainingError
from bark_jax.inputs import check_tokens
from bark_jax.settings import Settings
from bark_jax.stages.coarse_plan import KEEP, Plan, coarse_history, coarse_steps, flatten_codes, plan_windows
from bark_jax.stages.fine import plan_rows
from bark_jax.stages.semantic import prompt_rows
from bark_jax.voices.voice import Voice

NO_PREFIX = 0.5  # probability of a fine window that begins without known frames, as that of a short clip does
_LEAST_UNIT = 32  # positions: lengths of batches are multiples of at least this


class SemanticBatch(NamedTuple):
    """What the semantic stage learns from."""

    text: np.ndarray  # [B, P] int32: offset text ids, then pads
    history: np.ndarray  # [B, P] int32: the end of a voice, then pads
    targets: np.ndarray  # [B, M] int32: semantic tokens, the end of sequence (`semantic.pad`), then anything
    learned: np.ndarray  # [B] int32: targets that are learned; 0 for a row that only fills the batch


class CoarseBatch(NamedTuple):
    """What the coarse stage learns from."""

    tokens: np.ndarray  # [B, L] int32: prompt (semantic, infer, coarse), the window's codes, then anything
    first: np.ndarray  # [B] int32: where the targets begin: at the window's codes, or at the prompt's
    learned: np.ndarray  # [B] int32: targets; 0 for a row that only fills the batch


class FineBatch(NamedTuple):
    """What the fine stage learns from."""

    codes: np.ndarray  # [B, K, W] int32: known codes, and pads where generation does not know them yet
    targets: np.ndarray  # [B, W] int32: the codes of `codebook`
    codebook: np.ndarray  # [B] int32: the one to predict
    first: np.ndarray  # [B] int32: frame of the first target; those before it are known
    learned: np.ndarray  # [B] int32: targets; 0 for a row that only fills the batch


class CodecBatch(NamedTuple):
    """What the codec learns from."""

    waveform: np.ndarray  # [B, N] float32, about −1 … 1
    learned: np.ndarray  # [B] int32: 1, or 0 for a row that only fills the batch


Batch = SemanticBatch | CoarseBatch | FineBatch | CodecBatch
Example = TypeVar("Example", SemanticBatch, CoarseBatch, FineBatch, CodecBatch)


def stack(examples: Sequence[Example], rows: int | None = None) -> Example:
    """A batch of the examples, filled up to `rows` by copies of the first, from which nothing is learned.

    Semantic and coarse batches end soon after their longest row (M, L: its length, rounded up), so there are about a
    dozen lengths, each of which is compiled. Raises TrainingError when there is no example, or more than `rows`.
    """
    rows = len(examples) if rows is None else rows
    if not 0 < len(examples) <= rows:
        raise TrainingError(f"{len(examples)} examples cannot be a batch of {rows} rows")
    filler = examples[0]._replace(learned=_scalar(0))
    columns = zip(*examples, *[filler] * (rows - len(examples)), strict=True)
    return _trim(type(examples[0])(*map(np.stack, columns)))


def _trim(batch: Example) -> Example:
    """Without the columns behind all rows' targets."""
    if isinstance(batch, SemanticBatch):
        return batch._replace(targets=_cut(batch.targets, batch.learned))
    if isinstance(batch, CoarseBatch):
        return batch._replace(tokens=_cut(batch.tokens, batch.first + batch.learned))
    return batch


def _cut(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The first columns of rows [B, N], enough for the longest of the lengths [B].

    They are rounded up to a unit, the largest power of two in an eighth of N but not less than the least, or to N.
    """
    unit = max(_LEAST_UNIT, 1 << max(0, (rows.shape[1] // 8).bit_length() - 1))
    return rows[:, : -(-int(lengths.max()) // unit) * unit]


def semantic_example(
    config: BarkConfig, text: np.ndarray, tokens: np.ndarray, voice: Voice | None = None
) -> SemanticBatch:
    """One clip for the semantic stage: text ids as `text.encode_text` makes them, and semantic tokens [N].

    The end of the sequence is learned unless the tokens fill `max_new`, where generation ends by itself. Raises
    TokenError for ids outside the vocabularies, TrainingError for an empty clip and for one that is too long.
    """
    rules = config.semantic
    text = check_tokens(text, "text", (None,), rules.gpt.input_vocab)
    tokens = check_tokens(tokens, "semantic tokens", (None,), rules.vocab)
    _check_length("text ids", len(text), rules.max_text)
    _check_length("semantic tokens", len(tokens), rules.max_new)
    ids, history = prompt_rows(rules, [text], [voice])
    targets = np.full(rules.max_new, rules.pad, np.int32)
    targets[: len(tokens)] = tokens
    return SemanticBatch(ids[0], history[0], targets, _scalar(min(len(tokens) + 1, rules.max_new)))


def coarse_examples(config: BarkConfig, clip: Voice, voice: Voice | None = None) -> list[CoarseBatch]:
    """All windows of a clip for the coarse stage, as generation with that voice plans them.

    Windows that generation runs on one prompt (it keeps their cache) are one example: the same layout, and every token
    of the clip is a target once. Raises VoiceError when the clip does not fit the model.
    """
    clip.check(config)
    settings = Settings()
    semantic, coarse = coarse_history(config, voice, settings)
    plan = plan_windows(config, [clip.semantic], [(semantic, coarse)], [settings], len(clip.semantic))
    new = flatten_codes(config, clip.coarse)[: coarse_steps(config, len(clip.semantic))]
    windows = np.flatnonzero(plan.action != KEEP)
    begins = windows * config.coarse.window
    ends = np.minimum(np.append(begins[1:], len(new)), len(new))
    rows = np.stack([windows, len(coarse) + begins, len(coarse) + ends], axis=1)
    rows = rows[begins < ends]  # codes may be a few frames short of what generation would make
    return [_coarse_example(config, plan, np.concatenate([coarse, new]), *row) for row in rows.tolist()]


def _coarse_example(config: BarkConfig, plan: Plan, flat: np.ndarray, window: int, begin: int, end: int) -> CoarseBatch:
    """The prompt of a window, and as targets the flat tokens from `begin` up to `end`."""
    rules = config.coarse
    at, count = plan.semantic_begin[0, window], plan.coarse_count[0, window]
    semantic = plan.semantic[0, at : at + rules.max_semantic]
    used = np.concatenate([semantic, [rules.infer], flat[begin - count : end]])
    tokens = np.full(rules.max_semantic + 1 + rules.max_history + rules.window, rules.semantic_pad, np.int32)
    tokens[: len(used)] = used
    return CoarseBatch(tokens, _scalar(rules.max_semantic + 1 + count), _scalar(end - begin))


def sample_coarse(config: BarkConfig, clip: Voice, rng: np.random.Generator, voice: Voice | None = None) -> CoarseBatch:
    """One of `coarse_examples`, each as likely as the others; all codes in it are targets.

    Those that the prompt holds are real codes too, and several times as many as the window's new ones.
    """
    examples = coarse_examples(config, clip, voice)
    example = examples[rng.integers(len(examples))]
    first = config.coarse.max_semantic + 1
    return example._replace(first=_scalar(first), learned=_scalar(example.first + example.learned - first))


def fine_example(
    config: BarkConfig, codes: np.ndarray, *, codebook: int, start: int, known: int, beyond: np.ndarray | None = None
) -> FineBatch:
    """One window for the fine stage.

    codes [K, T] of a clip, behind which generation puts pads where it is shorter than a window; codebook to predict;
    start: the window's first frame; known: frames at its beginning whose codes are all known, as those of a voice are.
    From there on the predicted codebook holds pads, as in generation's first window. (Its later windows show their own
    guesses of some frames; the true codes would give the answer away.) beyond [K, W]: codes in place of what generation
    has guessed for the frames behind the clip, in the codebooks between the given ones and the predicted; without it,
    they are pads. Raises TrainingError when nothing is left to learn, and TokenError for codes outside the codebooks.
    """
    rules, given = config.fine, config.coarse.codebooks
    codes = check_tokens(codes, "codes", (config.codec.codebooks, None), config.codec.codebook_size)
    width, frames = rules.gpt.block_size, codes.shape[1]
    count = min(width, frames - start) - known
    if not (given <= codebook < len(codes) and start >= 0 and known >= 0 and count > 0):
        raise TrainingError(
            f"codebook {codebook}, start {start} and known {known} leave nothing to learn of {frames} frames"
        )
    buffer = np.full((len(codes), plan_rows(config, [frames], [0]).length[0]), rules.pad, np.int32)
    buffer[:, :frames] = codes
    window = buffer[:, start : start + width].copy()
    targets = window[codebook].copy()
    window[codebook:, known:] = rules.pad
    if beyond is not None:
        window[given:codebook, known + count :] = beyond[given:codebook, known + count :]
    return FineBatch(window, targets, _scalar(codebook), _scalar(known), _scalar(count))


def sample_fine(config: BarkConfig, clip: Voice, rng: np.random.Generator) -> FineBatch:
    """A random window of a clip with a random codebook to predict and a random known prefix.

    Behind the clip, where generation's guesses mean nothing, are codes of random frames: they are not to be heeded.
    """
    clip.check(config)
    width, frames = config.fine.gpt.block_size, clip.fine.shape[1]
    start = int(rng.integers(max(width, frames) - width + 1))
    most = min(config.fine.max_history, frames - start - 1)
    known = 0 if rng.random() < NO_PREFIX else int(rng.integers(most + 1))
    codebook = int(rng.integers(config.coarse.codebooks, config.codec.codebooks))
    beyond = clip.fine[:, rng.integers(frames, size=width)]
    return fine_example(config, clip.fine, codebook=codebook, start=start, known=known, beyond=beyond)


def sample_waveform(waveform: np.ndarray, samples: int, rng: np.random.Generator) -> CodecBatch:
    """A random stretch of a mono waveform, float32 [samples]; a shorter one is followed by silence.

    Raises TrainingError unless it is one channel of finite samples.
    """
    if waveform.ndim != 1 or not len(waveform) or not np.isfinite(waveform).all():
        raise TrainingError(f"a waveform must be finite samples [N], not {waveform.dtype} {list(waveform.shape)}")
    start = int(rng.integers(max(0, len(waveform) - samples) + 1))
    stretch = np.zeros(samples, np.float32)
    stretch[: len(waveform)] = waveform[start : start + samples]
    return CodecBatch(stretch, _scalar(1))


def _check_length(what: str, length: int, most: int) -> None:
    if not 0 < length <= most:
        raise TrainingError(f"the clip has {length} {what}, the model takes 1 … {most}: cut it, or leave it out")


def _scalar(value: int) -> np.ndarray:
    return np.array(value, np.int32)
