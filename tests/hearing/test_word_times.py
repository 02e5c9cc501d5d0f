"""Times of words: the search on made-up attention, and clips of nano."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from bark_jax import Bark
from bark_jax.generation import Tokens
from bark_jax.hearing.clips import time_clips
from bark_jax.hearing.timing import LEAD, WordTime, find_spans, follow, time_words, walk, words_of
from bark_jax.hearing.word_files import words_json, words_srt, words_vtt
from bark_jax.inputs import Options
from bark_jax.speech.speaking import join_again

from test_cli import run

RATE, HZ = 50.0, 16_000


def attention(lengths: list[int], tail: int = 0, heads: int = 6, seed: int = 0) -> np.ndarray:
    """Head 3 looks at each token of the text as long as it says, the others at anything."""
    rng = np.random.default_rng(seed)
    steps, places = sum(lengths) + tail, len(lengths)
    found = rng.dirichlet(np.ones(places), (heads, steps)).astype(np.float32) * 0.3
    position = np.repeat(np.arange(places), lengths)
    found[3] *= 0.1
    found[3, np.arange(len(position)), position] = 0.9
    return found


def test_the_head_that_follows_the_text_is_found() -> None:
    followed = follow(attention([10, 20, 5, 15]))
    np.testing.assert_array_equal(followed.position, np.repeat(np.arange(4), [10, 20, 5, 15]))
    assert followed.confidence > 0.85


def test_words_that_were_left_out_are_passed_by() -> None:
    weights = np.full((40, 4), 0.01, np.float32)
    weights[:20, 0] = weights[20:, 3] = 0.9
    np.testing.assert_array_equal(walk(weights), np.repeat([0, 3], 20))
    np.testing.assert_array_equal(walk(weights[:2]), [0, 0])  # fewer tokens than words


def test_words_begin_when_they_are_read_and_a_little_later() -> None:
    text = "One two, three."
    offsets = [(0, 3), (4, 7), (7, 8), (9, 14), (14, 15)]
    sound = np.ones(60 * HZ // 50, np.float32)
    words, tail = time_words(follow(attention([20, 10, 5, 20, 5])), text, offsets, RATE, sound, HZ)
    assert [word.text for word in words] == ["One", "two,", "three."]
    assert [word.start for word in words] == pytest.approx([0, (20 + LEAD) / RATE, (35 + LEAD) / RATE], abs=0.021)
    assert words[-1].end == pytest.approx(60 / RATE)
    assert tail == 0


def test_what_goes_on_after_the_text_is_a_tail() -> None:
    sound = np.ones(100 * HZ // 50, np.float32)
    words, tail = time_words(
        follow(attention([20, 20, 2], tail=58)), "One two.", [(0, 3), (4, 7), (7, 8)], RATE, sound, HZ
    )
    assert tail == pytest.approx(58 / RATE, abs=0.1)
    assert words[-1].end < 1


def test_words_end_with_their_sound() -> None:
    sound = np.zeros(40 * HZ // 50, np.float32)
    sound[round(0.1 * HZ) : round(0.3 * HZ)] = 1
    sound[round(0.6 * HZ) : round(0.7 * HZ)] = 1
    words, _ = time_words(follow(attention([20, 20])), "One two", [(0, 3), (4, 7)], RATE, sound, HZ)
    times = [second for word in words for second in (word.start, word.end)]
    assert times == pytest.approx([0.1, 0.3, 0.6, 0.7], abs=0.011)


def test_spans_are_those_of_the_callers_text() -> None:
    given = "ANNA: It  is **cold**, [pause 1s] today — Zoe\u0301!"
    words = [WordTime(text=t, start=0, end=1, span=None) for t in ("It", "is", "cold,", "today", "Zo\xe9!")]
    spans = [word.span for word in find_spans(words, given)]
    assert [given[slice(*span)] if span else None for span in spans] == ["It", "is", "**cold**,", "today", None]
    assert [given[slice(*span)] for span in words_of(given)][:2] == ["ANNA:", "It"]
    assert [slice(*span) for span in words_of("你好 a")] == [slice(0, 1), slice(1, 2), slice(3, 4)]


def test_subtitles_by_words() -> None:
    words = [
        WordTime(text="One", start=0, end=0.5, span=(0, 3)),
        WordTime(text="<two>", start=0.5, end=1.2, span=(4, 9)),
    ]
    assert "1\n00:00:00,000 --> 00:00:00,500\nOne\n" in words_srt(words)
    assert words_vtt(words) == "WEBVTT\n\n00:00:00.000 --> 00:00:01.200\nOne <00:00:00.500>&lt;two&gt;\n"
    assert words_json(words)[1] == {"text": "<two>", "start": 0.5, "end": 1.2, "span": (4, 9)}
    assert words_vtt([]) == "WEBVTT\n"


@pytest.fixture(scope="module")
def bark() -> Bark:
    return Bark.from_pretrained("nano")


def test_a_clip_has_the_times_of_its_words(bark: Bark) -> None:
    text = "It takes  sixty two weeks."
    plain = bark.generate(text, voice="adam", seed=0)
    clip = bark.generate(text, voice="adam", seed=0, word_times=True)
    assert plain.words is None
    assert plain == clip
    assert clip.words is not None
    assert [text[slice(*word.span)] for word in clip.words if word.span] == text.split()
    times = [second for word in clip.words for second in (word.start, word.end)]
    assert times == sorted(times)
    # pocketsphinx, aligned with the same clip: 0.07, 0.28, 0.67, 1.21 and 1.46 s
    assert [word.start for word in clip.words] == pytest.approx([0.07, 0.28, 0.67, 1.21, 1.46], abs=0.12)
    assert clip.tail_seconds == 0


def test_the_pass_sees_what_the_steps_saw(bark: Bark) -> None:
    """The weights of the teacher-forced pass are those of the decoding steps."""
    clip = bark.generate("It is cold.", voice="adam", seed=1, outputs=("attention",), max_seconds=0.4)
    ids = bark.frontend.reader.read("It is cold.").ids
    options = Options(voice=bark.find_voice("adam"), seed=1, settings=bark.settings)
    (found,) = bark.engine.attention_to_text([ids], [clip.semantic], [options])
    steps = clip.outputs["semantic"]["attention"]  # [N, layers, heads, slots]
    expected = steps[:, :, :, : len(ids)].reshape(len(steps), -1, len(ids)).transpose(1, 0, 2)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_babble_after_the_text_is_found_and_cut(bark: Bark) -> None:
    clip = bark.generate("It takes sixty two weeks.", voice="adam", seed=0)
    more = bark.generate("Come to the park at seven thirty!", voice="adam", seed=2, max_seconds=2)
    joined = {
        name: np.concatenate([getattr(clip, name), getattr(more, name)], -1) for name in ("semantic", "coarse", "fine")
    }
    both = dataclasses.replace(clip, **joined, waveform=bark.decode(joined["fine"]))
    options = Options(voice=bark.find_voice("adam"), seed=0, settings=bark.settings)
    (timed,) = time_clips(bark.engine, bark.frontend, [both.text], [both], [options], trim_tail=True)
    assert timed.tail_seconds == pytest.approx(more.seconds, abs=0.3)
    assert timed.seconds == pytest.approx(clip.seconds, abs=0.3)
    assert timed.words is not None
    assert timed.words[-1].end <= timed.seconds + 0.05


def test_words_of_a_speech_are_in_the_joined_audio(bark: Bark) -> None:
    text = "[pause 500ms] It is cold today. [pause 1s] I like tea."
    speech = bark.speak(text, voice="adam", seed=1, word_times=True)
    assert speech.words is not None
    found = [text[slice(*word.span)] for word in speech.words if word.span]
    assert found == ["It", "is", "cold", "today.", "I", "like", "tea."]
    assert speech.words[0].start >= 0.5
    assert speech.words[4].start - speech.words[3].end >= 0.9
    assert speech.words[-1].end <= speech.seconds
    assert speech.tails is not None
    assert len(speech.tails) == len(speech.pieces)


def test_tails_of_a_speech_are_cut(bark: Bark) -> None:
    """Babble after the second piece, which is another clip's tokens: the speech without it is heard."""
    speech = bark.speak("It is cold today. [pause 1s] I like tea.", voice="adam", seed=1)
    more = bark.generate("We wrote a letter last night.", voice="adam", seed=3)
    last = speech.pieces[-1]
    babble = Tokens(*(np.concatenate(own, axis=-1) for own in zip(last.tokens, more.tokens, strict=True)))
    pieces = (*speech.pieces[:-1], dataclasses.replace(last, tokens=babble))
    longer = join_again(bark.engine, speech, pieces)
    assert longer.seconds > speech.seconds + 1
    cut = bark.time_words(longer, trim_tail=True)
    assert cut.tails is not None
    assert cut.tails[0] == 0
    assert cut.tails[1] == pytest.approx(more.seconds, abs=0.4)
    assert cut.seconds == pytest.approx(speech.seconds, abs=0.4)
    assert cut.words is not None
    assert cut.words[-1].end <= cut.seconds
    assert bark.time_words(speech, trim_tail=True).seconds == speech.seconds


def test_the_command_writes_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [f"--{kind}={tmp_path / f'a.{kind}'}" for kind in ("srt", "vtt")]
    text = "It is cold. [pause 300ms] I like tea."
    arguments = ["say", text, "--model", "nano", "--seed", "1", "-o", str(tmp_path / "a.wav"), "--word-times"]
    code, out, _ = run(capsys, *arguments, *files, "--figure", str(tmp_path / "a.svg"), "--json", "--quiet")
    assert code == 0
    words = json.loads(out)["words"]
    assert [text[slice(*word["span"])] for word in words] == ["It", "is", "cold.", "I", "like", "tea."]
    assert (tmp_path / "a.srt").read_text().count(" --> ") == 6
    assert (tmp_path / "a.vtt").read_text().count("<00:") == 5
    assert (tmp_path / "a.svg").stat().st_size
