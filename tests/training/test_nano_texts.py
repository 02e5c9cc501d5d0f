"""The nano recipe's sentences: their grammar, how numbers are written and read, and their tokenizer."""

from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bark_jax.text import encode_text, load_tokenizer
from bark_jax.training import TrainingError
from recipes.nano.config import nano_config
from recipes.nano.grammar import SOUNDS, Choice, Dealer, Item, Reference, read_grammar, words_of
from recipes.nano.numbers import spell, value
from recipes.nano.recipe import Recipe
from recipes.nano.texts import (
    MAX_WORDS,
    Texts,
    make_texts,
    read_texts,
    spoken_words,
    write_texts,
)
from recipes.nano.tokenizer import TEXT_VOCAB, make_tokenizer

HEADER = "#JSGF V1.0; grammar g;\n"


@pytest.fixture(scope="module")
def rules() -> dict[str, Choice]:
    return read_grammar()


@pytest.fixture(scope="module")
def texts() -> Texts:
    return make_texts(Recipe.sounds, Recipe.words, Recipe.held_out)


def accepts(rules: dict[str, Choice], words: list[str]) -> bool:
    """Whether the grammar has the sentence."""

    @cache
    def ends(item: Item, start: int) -> frozenset[int]:
        if isinstance(item, str):
            return frozenset([start + 1] if words[start : start + 1] == [item] else [])
        if isinstance(item, Reference):
            return ends(rules[item.rule], start)
        found: set[int] = set()
        for sequence in item.sequences:
            at = {start}
            for part in sequence:
                at = {end for begin in at for end in ends(part, begin)}
            found |= at
        return frozenset(found)

    return len(words) in ends(Reference("sentence"), 0)


def test_the_same_seed_gives_the_same_sentences() -> None:
    assert make_texts(50, 20, 5, seed=1) == make_texts(50, 20, 5, seed=1)
    assert make_texts(50, 20, 5, seed=1) != make_texts(50, 20, 5, seed=2)


def test_nothing_that_is_held_out_is_trained_however_it_is_written(texts: Texts) -> None:
    sounds, words, held_out = ({tuple(spoken_words(text)) for text in side} for side in vars(texts).values())
    assert not held_out & (sounds | words)
    assert len(words) == len(texts.words) == 48_000
    assert len(held_out) == len(texts.held_out) > 190


def test_sounds_are_of_twice_as_many_words(texts: Texts, rules: dict[str, Choice]) -> None:
    words = {word for text in texts.sounds for word in spoken_words(text)}
    assert len(texts.sounds) == 12_000
    assert words == words_of(read_grammar(SOUNDS))
    assert words_of(rules) - words == {
        "breakfast", "called", "cooking", "drink", "drinking", "eating", "helped", "learn", "music", "question",
        "reading", "telephone", "write",
    }  # fmt: skip
    assert len(words) > 2 * len(words_of(rules))


def test_every_word_is_trained_and_most_behind_several_others(texts: Texts, rules: dict[str, Choice]) -> None:
    sentences = [["", *spoken_words(text)] for text in texts.words]
    words = words_of(rules)
    counts = Counter(word for sentence in sentences for word in sentence[1:])
    before = Counter(second for _, second in {pair for s in sentences for pair in pairwise(s)})
    assert counts.keys() == words
    assert min(counts.values()) >= 30
    assert sum(n >= 3 for n in before.values()) >= 0.7 * len(words)


def test_the_recogniser_can_hear_every_held_out_sentence(texts: Texts, rules: dict[str, Choice]) -> None:
    refused = [text for text in texts.held_out if not accepts(rules, spoken_words(text))]
    assert not refused
    assert not accepts(rules, ["it", "is", "seven", "thirty", "on"])


def test_sentences_are_short_and_end_as_sentences_do(texts: Texts) -> None:
    for text in texts.words + texts.sounds:
        assert 1 <= len(spoken_words(text)) <= MAX_WORDS
        assert text[-1] in ".?!"
        assert text[0] == text[0].upper()
    share = sum(any(c.isdigit() for c in text) for text in texts.words) / len(texts.words)
    assert 0.1 < share < 0.5


def test_files_of_sentences_are_read_as_they_were_written(tmp_path: Path) -> None:
    made = make_texts(20, 4, 3)
    write_texts(made, tmp_path / "texts")
    assert read_texts(tmp_path / "texts") == made
    with pytest.raises(TrainingError, match="nowhere"):
        read_texts(tmp_path / "nowhere")
    with pytest.raises(TrainingError, match=r"cannot write the sentences to .*words\.txt"):
        write_texts(made, tmp_path / "texts" / "words.txt")


def test_a_grammar_that_is_too_small_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.nano.texts._TRIES", 1)
    with pytest.raises(TrainingError, match="different sentences: ask for fewer"):
        make_texts(1000, 0, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It is 7:32 on Monday.", "it is seven thirty two on monday"),
        ("At 12:05!", "at twelve zero five"),
        ("It's ten o'clock", "it's ten o'clock"),
        ("3 dogs, 21 cats", "three dogs twenty one cats"),
        ("May 21st", "may twenty first"),
        ("the 12th and the 30th", "the twelfth and the thirtieth"),
        ("50% of 1,250", "fifty percent of one thousand two hundred fifty"),
        ("345678", "three hundred forty five thousand six hundred seventy eight"),
        ("twenty-one", "twenty one"),
        ("100000", "one hundred thousand"),
        ("0 5 0", "zero five zero"),
    ],
)
def test_digits_have_the_words_that_are_spoken(text: str, words: str) -> None:
    assert spoken_words(text) == words.split()


def test_what_cannot_be_read_is_named() -> None:
    with pytest.raises(ValueError, match=r"'\$'"):
        spoken_words("It costs $5.")
    with pytest.raises(ValueError, match="can be spelled"):
        spoken_words("1,000,000")


@pytest.mark.parametrize("number", [0, 7, 12, 20, 99, 100, 101, 999, 1000, 1001, 20_000, 999_999])
def test_numbers_are_read_from_their_words(number: int) -> None:
    assert value(spell(number)) == number


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<a> = b;", "does not begin"),
        (HEADER + "<a> = <b>;", "no rule for b"),
        (HEADER + "<a> = (b;", "';' where"),
        (HEADER + "<a> = b | c", "'' where ';'"),
        (HEADER + "<a> = b {tag};", "not understood"),
        (HEADER + "import <h.*>; <a> = b;", r"cannot read the grammar .*h\.jsgf"),
    ],
)
def test_grammars_that_are_not_understood_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "g.jsgf").write_text(text)
    with pytest.raises(TrainingError, match=message):
        read_grammar(tmp_path / "g.jsgf")


def test_a_grammar_imports_the_rules_of_another(tmp_path: Path) -> None:
    (tmp_path / "g.jsgf").write_text(HEADER + "import <h.*>; <a> = <b> c;")
    (tmp_path / "h.jsgf").write_text("#JSGF V1.0; grammar h; public <b> = d;")
    assert words_of(read_grammar(tmp_path / "g.jsgf")) == {"c", "d"}


def test_alternatives_are_dealt_by_weight_before_any_comes_again(tmp_path: Path) -> None:
    (tmp_path / "g.jsgf").write_text(HEADER + "public <a> = /2/ b [c] | <d> e; // one\n<d> = <NULL> | (x | y) z;")
    dealer = Dealer(read_grammar(tmp_path / "g.jsgf"), np.random.default_rng(0), ["d"])
    dealt = [dealer.deal("a") for _ in range(12)]
    assert Counter(spans[0].words for spans in dealt) == {("b",): 8, (): 2, ("x", "z"): 1, ("y", "z"): 1}
    assert Counter(len(spans) for spans in dealt if spans[0].words == ("b",)) == {1: 4, 2: 4}
    assert {span.rule for spans in dealt for span in spans} == {"", "d"}


def test_the_tokenizer_knows_all_that_ascii_spells(texts: Texts, tmp_path: Path) -> None:
    make_tokenizer().save(str(tmp_path / "tokenizer.json"))
    tokenizer, config = load_tokenizer(tmp_path), nano_config().semantic
    assert tokenizer.get_vocab_size() == TEXT_VOCAB
    encoding = tokenizer.encode("Zyx’s café #9 ~ qwertz@{}".replace("’", "'"), add_special_tokens=False)
    assert "[UNK]" not in encoding.tokens
    assert tokenizer.encode("In Zoë 1984").tokens == ["in", "z", "##o", "##e", "1", "##9", "##8", "##4"]
    lengths = [len(encode_text(tokenizer, text, config)) for text in texts.held_out + texts.words]
    assert max(lengths) <= config.max_text
    ids = encode_text(tokenizer, texts.held_out[0], config) - config.text_offset
    assert spoken_words(tokenizer.decode(ids.tolist()).replace(" ##", "")) == spoken_words(texts.held_out[0])
