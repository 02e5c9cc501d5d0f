"""The feed: what it draws, in which order, and that it resumes from any position."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from bark_jax.text import builtin_tokenizer
from bark_jax.training import CodecBatch, TrainingError
from bark_jax.training.dataset import Clip
from bark_jax.training.feed import Examples, Feed, hold_out, validation_batches

from small import CONFIG, SAMPLES, STAGES, assert_same, named_clips, random_clip, tones

TOKENIZER = builtin_tokenizer()
NAMES = [f"{i}.wav" for i in range(1000)]


def make_examples(stage: str, clips: Any = None, **changes: Any) -> Examples:
    clips = clips or (tones() if stage == "codec" else named_clips())
    options: dict[str, Any] = {"tokenizer": TOKENIZER, "seconds": SAMPLES / 600} | changes
    return Examples(CONFIG, stage, clips, range(len(clips)), **options)


def make_feed(stage: str, seed: int = 0) -> Feed:
    examples = make_examples(stage)
    return Feed(examples.draw, range(12), batch=4, seed=seed, lengths=examples.lengths)


def number(index: int, rng: np.random.Generator) -> CodecBatch:
    """An example that says which clip it is of."""
    return CodecBatch(np.full(1, index, np.float32), np.array(1, np.int32))


@pytest.mark.parametrize("stage", STAGES)
def test_the_seed_decides_what_is_drawn(stage: str) -> None:
    with make_feed(stage) as one, make_feed(stage) as other, make_feed(stage, seed=1) as third:
        batches = [[next(feed) for _ in range(8)] for feed in (one, other, third)]
        assert_same(batches[0], batches[1])
        assert_same(one.first(), batches[0][0])
    assert any(not np.array_equal(a, b) for x, y in zip(*batches[1:], strict=True) for a, b in zip(x, y, strict=True))
    assert all(len(batch.learned) == 4 for batch in batches[0])


@pytest.mark.parametrize("stage", STAGES)
def test_it_resumes_from_any_position(stage: str) -> None:
    with make_feed(stage) as feed:
        positions, batches = [], []
        for _ in range(7):  # beyond an epoch, which has three
            positions.append(feed.state)
            batches.append(next(feed))
        for position, batch in zip(positions, batches, strict=True):
            feed.restore(position)
            assert_same(next(feed), batch)


def test_every_clip_is_used_once_in_an_epoch() -> None:
    with Feed(number, range(10, 20), batch=4, seed=3) as feed:  # 4 does not divide 10
        drawn = np.concatenate([next(feed).waveform[:, 0] for _ in range(10)]).reshape(4, 10)
    assert all(sorted(epoch) == list(range(10, 20)) for epoch in drawn.tolist())
    assert len({tuple(epoch) for epoch in drawn.tolist()}) == 4  # each in another order


def test_clips_of_a_batch_are_of_about_the_same_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 300)
    with Feed(number, range(300), batch=4, seed=3, lengths=lengths) as feed:
        drawn = np.stack([next(feed).waveform[:, 0] for _ in range(64)]).astype(int)
    assert len(set(drawn.ravel().tolist())) == 256  # none twice in less than an epoch
    assert np.ptp(lengths[drawn], axis=1).mean() < 10
    assert np.abs(np.diff(lengths[drawn].mean(axis=1))).mean() > 30  # but long and short batches by turns


@pytest.mark.parametrize("clips", [12, 29, 100])
def test_a_clip_is_not_twice_in_a_batch_of_one_epoch(clips: int) -> None:
    with Feed(number, range(clips), batch=4, seed=3, lengths=[1 + i % 7 for i in range(clips)]) as feed:
        drawn = [set(next(feed).waveform[:, 0].tolist()) for _ in range(clips)]  # four epochs
    block = 4 * max(1, clips // 16)  # clips that are sorted together; in one where two epochs meet it may be
    for index, batch in enumerate(drawn):
        first = index * 4 // block * block
        assert len(batch) == 4 or first // clips != (first + block - 1) // clips
    counts = Counter(clip for batch in drawn for clip in batch).values()
    assert max(counts) <= 5  # the last block may hold the beginning of a fifth
    assert min(counts) >= 2


def test_what_is_held_out_depends_on_names_alone() -> None:
    training, held_out = hold_out(NAMES, 0.1)
    assert sorted(training + held_out) == list(range(1000))
    assert 70 < len(held_out) < 130
    assert hold_out(NAMES[:500], 0.1)[1] == [i for i in held_out if i < 500]
    backwards = [NAMES[::-1][i] for i in hold_out(NAMES[::-1], 0.1)[1]]
    assert sorted(backwards) == sorted(NAMES[i] for i in held_out)
    assert hold_out(NAMES, 0) == (list(range(1000)), [])
    assert len(hold_out(NAMES[:3], 0.001)[1]) == 1
    assert hold_out(NAMES[:1], 0.001) == ([0], [])  # there must be something to learn


def test_validation_is_always_the_same_and_counts_every_clip_once() -> None:
    examples = make_examples("fine")
    once, twice = (validation_batches(examples.draw, range(6), batch=4, seed=5) for _ in range(2))
    assert_same(once, twice)
    assert [(batch.learned > 0).tolist() for batch in once] == [[True] * 4, [True, True, False, False]]


def test_voices_are_of_the_same_speaker_and_of_training_clips() -> None:
    clips = named_clips()
    examples = Examples(CONFIG, "coarse", clips, range(8), tokenizer=TOKENIZER, history=0.5)
    for index in (0, 1, 11):  # the last one is held out
        rng = np.random.default_rng(index)
        voices = Counter(id(examples._voice(index, rng)) for _ in range(400))
        others = {id(clips[i].tokens) for i in range(8) if i % 2 == index % 2 and i != index}
        assert set(voices) == others | {id(None)}
        assert 150 < voices[id(None)] < 290
    silent = Examples(CONFIG, "coarse", clips, range(8), tokenizer=TOKENIZER, history=0.0)
    assert silent._voice(0, np.random.default_rng(0)) is None


def test_errors_name_the_clip() -> None:
    rng = np.random.default_rng(0)
    bad = [*tones(1), np.full(30, np.nan, np.float32)]
    with pytest.raises(TrainingError, match="clip 1: a waveform must be finite"):
        make_examples("codec", bad).draw(1, rng)
    long = Clip(name="long.wav", text="words", speaker="", tokens=random_clip(60))
    with pytest.raises(TrainingError, match=r"clip long\.wav: the clip has 60 semantic tokens"):
        make_examples("semantic", [long]).draw(0, rng)
    with make_feed("codec") as feed:
        assert next(feed)
    with (
        Feed(make_examples("semantic", [long]).draw, [0], batch=1, seed=0) as feed,
        pytest.raises(TrainingError, match=r"long\.wav"),
    ):
        next(feed)


@pytest.mark.parametrize(("text", "message"), [("word " * 20, "80 tokens, the model reads 24"), (" ", "is empty")])
def test_texts_that_the_model_cannot_read(text: str, message: str) -> None:
    clips = [*named_clips(2), Clip(name="odd.wav", text=text, speaker="", tokens=random_clip(8))]
    with pytest.raises(TrainingError, match=rf"clip odd\.wav: .*{message}"):
        make_examples("semantic", clips)


def test_nothing_to_train_on() -> None:
    with pytest.raises(TrainingError, match="no clips"):
        Feed(number, [], batch=4, seed=0)
