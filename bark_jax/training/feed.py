"""Clips → batches without end: reshuffled in every epoch, of clips of about the same length, windows at random.

The same again for the same seed.

The codec's clips are waveforms, float32 [N]; those of the other stages `dataset.Clip`. Any sequence of them will do.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from types import TracebackType
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from bark_jax.config import BarkConfig
from bark_jax.errors import TrainingError
from bark_jax.text import TextError, TextReader, truncation, warn_of
from bark_jax.training.batches import Batch, sample_coarse, sample_fine, sample_waveform, semantic_example, stack
from bark_jax.voices.voice import Voice

_AHEAD = 4  # batches made while a step runs
_BATCHES = 2**40  # more than any run has
_BLOCK = 32  # batches whose clips are sorted together

Draw: TypeAlias = Callable[[int, np.random.Generator], Any]
"""A training example of the clip of that index; what is random in it is drawn from the generator."""


class _Order:
    """Batch → the indices of its clips: shuffled in every epoch, then sorted by length a block of batches at a time.

    grain's own shuffling cannot sort: this is the source that it reads. lengths: of all clips, or None for any order.
    """

    def __init__(self, indices: Sequence[int], lengths: Sequence[int] | None, *, batch: int, seed: int) -> None:
        self._indices, self._lengths = np.asarray(indices), None if lengths is None else np.asarray(lengths)
        self._batch, self._seed = batch, seed
        # Of a quarter of the clips at most: in a block of several epochs, copies of a clip would meet in a batch.
        self._batches = min(_BLOCK, max(1, len(indices) // (4 * batch)))
        self._epoch, self._block = lru_cache(2)(self._make_epoch), lru_cache(2)(self._make_block)

    def __len__(self) -> int:
        return _BATCHES

    def __getitem__(self, batch: int) -> list[int]:
        clips: list[int] = self._block(batch // self._batches)[batch % self._batches].tolist()
        return clips

    def _make_epoch(self, epoch: int) -> npt.NDArray[np.int64]:
        """All indices, [clips]."""
        return np.random.default_rng([self._seed, epoch]).permutation(self._indices)

    def _make_block(self, block: int) -> npt.NDArray[np.int64]:
        """The indices of its batches, [batches, batch]."""
        count, size = len(self._indices), self._batches * self._batch
        clips = np.array(
            [self._epoch(place // count)[place % count] for place in range(block * size, (block + 1) * size)]
        )
        if self._lengths is None:
            return clips.reshape(-1, self._batch)
        batches = clips[np.argsort(self._lengths[clips], kind="stable")].reshape(-1, self._batch)
        return np.random.default_rng([self._seed, block, 1]).permutation(batches)  # 1: other numbers than an epoch's


class Feed(Iterator[Batch]):
    """Batches of `batch` examples of the clips of these indices, made ahead in a thread; close it in the end.

    Every clip is used once in an epoch; batches do not end with epochs. With the lengths of all clips, those of a batch
    are of about the same length, so that little of it is padding, and two epochs mix where they meet. What is drawn
    depends on the seed and the position only, and the position is `state`. Raises TrainingError when there is no clip.
    """

    def __init__(
        self, draw: Draw, indices: Sequence[int], *, batch: int, seed: int, lengths: Sequence[int] | None = None
    ) -> None:
        import grain  # half a second to import, and of use in training only

        if not indices:
            raise TrainingError("there are no clips to train on")
        order = _Order(indices, lengths, batch=batch, seed=seed)
        self._batches = grain.MapDataset.source(order).seed(seed).random_map(
            lambda clips, rng: stack([draw(clip, rng) for clip in clips])
        )  # fmt: skip
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=_AHEAD)
        self._iterator = iter(self._batches.to_iter_dataset(options))

    def __next__(self) -> Batch:
        try:
            return next(self._iterator)
        except TrainingError as error:
            raise TrainingError(str(error)) from error  # without grain's notes on its traceback

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._iterator.close()

    def first(self) -> Batch:
        """The first batch of all, wherever the feed is."""
        return self._batches[0]

    @property
    def state(self) -> dict[str, Any]:
        """The position, as JSON would hold it: for `restore`."""
        return self._iterator.get_state()

    def restore(self, state: dict[str, Any]) -> None:
        self._iterator.set_state(state)


class Examples:
    """Draws training examples of one stage. Errors, all of them TrainingError, name the clip.

    training: indices of the clips that voices are taken of; tokenizer: of the semantic stage's texts, which are encoded
    now; seconds: length of the codec's examples, to the next frame; history: probability of a voice, another clip of
    the same speaker, for the semantic and coarse stages. `lengths` are those of the clips, for a `Feed` to sort by, if
    examples of the stage have different ones. Raises TrainingError for a text that the model cannot read whole.
    """

    def __init__(
        self,
        config: BarkConfig,
        stage: str,
        clips: Sequence[Any],
        training: Sequence[int],
        *,
        tokenizer: Tokenizer,
        seconds: float = 1.0,
        history: float = 0.5,
    ) -> None:
        self.config, self.clips, self.history = config, clips, history
        self.samples = max(1, round(seconds * config.codec.frame_rate_hz)) * config.codec.hop
        self.names = facts(clips, "name")
        self._draw: Draw = {
            "semantic": self._semantic, "coarse": self._coarse, "fine": self._fine, "codec": self._codec
        }[stage]  # fmt: skip
        self.lengths = _lengths(clips) if stage in ("semantic", "coarse") else None
        self._texts = encode_texts(config, clips, tokenizer) if stage == "semantic" else []
        self._speakers = facts(clips, "speaker") if stage in ("semantic", "coarse") else []
        self._training: dict[str, list[int]] = defaultdict(list)  # by speaker
        for index in training if self._speakers else ():
            self._training[self._speakers[index]].append(index)

    def draw(self, index: int, rng: np.random.Generator) -> Any:
        """One example of the clip of that index."""
        try:
            return self._draw(index, rng)
        except ValueError as error:  # as all of ours are
            raise TrainingError(f"clip {self.names[index]}: {error}") from error

    def _semantic(self, index: int, rng: np.random.Generator) -> Any:
        voice, tokens = self._voice(index, rng), self.clips[index].tokens.semantic
        return semantic_example(self.config, self._texts[index], tokens, voice)

    def _coarse(self, index: int, rng: np.random.Generator) -> Any:
        return sample_coarse(self.config, self.clips[index].tokens, rng, self._voice(index, rng))

    def _fine(self, index: int, rng: np.random.Generator) -> Any:
        return sample_fine(self.config, self.clips[index].tokens, rng)

    def _codec(self, index: int, rng: np.random.Generator) -> Any:
        return sample_waveform(self.clips[index], self.samples, rng)

    def _voice(self, index: int, rng: np.random.Generator) -> Voice | None:
        """Perhaps that of another training clip of the same speaker."""
        others = self._training.get(self._speakers[index], [])
        if rng.random() >= self.history or not others:
            return None
        other = others[rng.integers(len(others))]
        return None if other == index else self.clips[other].tokens


def facts(clips: Sequence[Any], field: str) -> list[str]:
    """The names, texts or speakers of clips: the sequence's own list, or each clip's; what has no name has a number."""
    known = getattr(clips, f"{field}s", None)
    return [str(getattr(clip, field, i)) for i, clip in enumerate(clips)] if known is None else list(known)


def _lengths(clips: Sequence[Any]) -> list[int]:
    """Semantic tokens of each clip: as the sequence counts them, or each clip's."""
    known = getattr(clips, "tokens", None)
    return [len(clip.tokens.semantic) for clip in clips] if known is None else list(known)


def encode_texts(config: BarkConfig, clips: Sequence[Any], tokenizer: Tokenizer) -> list[np.ndarray]:
    """The text ids of every clip. Raises TrainingError for a text that the model cannot read, or not read whole.

    Warns with TextWarning, once, naming the characters that the tokenizer does not know.
    """
    reader = TextReader(tokenizer, replace(config.semantic, words=None))  # new words are learned now
    readings = []
    for name, text in zip(facts(clips, "name"), facts(clips, "text"), strict=True):
        try:
            readings.append(reader.read(text))
        except TextError as error:
            raise TrainingError(f"clip {name}: {error}") from error
        if problem := truncation(readings[-1]):
            raise TrainingError(f"clip {name}: {problem}")
    warn_of(readings, stacklevel=2)
    return [reading.ids for reading in readings]


def hold_out(names: Sequence[str], share: float) -> tuple[list[int], list[int]]:
    """Indices to train on, and about that share of all to validate with; at least one, if the share is not 0.

    A clip is chosen by a hash of its name: it stays on its side when others come or go.
    """
    places = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64 for name in names]
    held_out = {i for i, place in enumerate(places) if place < share}
    if share and not held_out and len(names) > 1:
        held_out = {int(np.argmin(places))}
    return [i for i in range(len(names)) if i not in held_out], sorted(held_out)


def validation_batches(draw: Draw, indices: Sequence[int], *, batch: int, seed: int) -> list[Batch]:
    """One example of each of these clips, always the same; the last batch is filled up with rows that do not count."""
    examples = [draw(i, np.random.default_rng([seed, i])) for i in indices]
    return [stack(examples[i : i + batch], batch) for i in range(0, len(examples), batch)]
