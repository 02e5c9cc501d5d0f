import dataclasses
import json
import string
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece

from bark_jax.config import BarkConfig, SemanticConfig
from bark_jax.text import (
    TextError,
    TextReader,
    TextTruncated,
    TextWarning,
    builtin_tokenizer,
    encode_text,
    load_tokenizer,
    normalize,
)

TINY = BarkConfig.tiny().semantic
PUBLISHED = BarkConfig.small().semantic
WORDS = ["[UNK]", "[CLS]", "Hello", "hello", "##s", "é", "e", "你", ","]


@pytest.fixture
def vocab_txt(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return path


def encode(text: str, tokenizer: Tokenizer, config: SemanticConfig = TINY) -> list[int]:
    return (encode_text(tokenizer, text, config) - config.text_offset).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", "a"),
        ("  a\t\n b\u2003c\u2028", "a b c"),
        ("a\r\n\r\nb", "a b"),
        ("\u3000你 好", "你 好"),
        ("Re\u0301sume\u0301", "Résumé"),
    ],
)
def test_normalize_collapses_whitespace(text: str, expected: str) -> None:
    assert normalize(text) == expected
    assert normalize(expected) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (" \n\u3000", "empty"),
        ("ab\ud800", "character 2 .* surrogate"),
        ("\u200b\x00", "spoken: .*u200b"),
    ],
)
def test_unspeakable_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(TextError, match=message):
        encode_text(builtin_tokenizer(), text, TINY)


@pytest.mark.filterwarnings("ignore:the tokenizer does not know x")
def test_vocabulary_file_makes_a_cased_wordpiece_tokenizer(vocab_txt: Path) -> None:
    tokenizer = load_tokenizer(vocab_txt)
    assert encode("Hellos hello, é e 你你 x [CLS]", tokenizer) == [2, 4, 3, 8, 5, 6, 7, 7, 0, 1]


def test_folder_prefers_the_tokenizer_file(vocab_txt: Path) -> None:
    assert load_tokenizer(vocab_txt.parent).get_vocab_size() == len(WORDS)
    builtin_tokenizer().save(str(vocab_txt.parent / "tokenizer.json"))
    assert load_tokenizer(vocab_txt.parent).get_vocab() == builtin_tokenizer().get_vocab()


def test_truncation_and_padding_of_the_file_are_ignored(tmp_path: Path) -> None:
    tokenizer = builtin_tokenizer()
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert encode("Hello there", load_tokenizer(tmp_path)) == encode("Hello there", builtin_tokenizer())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", b"{", "tokenizer.json is not a tokenizer"),
        ("tokenizer.json", b"{}", "tokenizer.json is not a tokenizer"),
        ("vocab.txt", b"\xff\xfe", "vocab.txt is not a tokenizer.*UTF-8"),
        ("vocab.txt", b"Hello\n", r"vocab.txt is not a tokenizer.*\[UNK\]"),
        ("other.txt", b"", "no tokenizer at"),
    ],
)
def test_unusable_tokenizer_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TextError, match=message):
        load_tokenizer(tmp_path)


def test_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"no tokenizer at .*nowhere"):
        load_tokenizer(tmp_path / "nowhere")


def test_builtin_tokenizer_spells() -> None:
    tokenizer = builtin_tokenizer()
    assert tokenizer.get_vocab() == builtin_tokenizer().get_vocab()
    assert TINY.text_offset + tokenizer.get_vocab_size() < TINY.text_pad
    unknown = tokenizer.token_to_id("[UNK]")
    for character in string.ascii_letters + string.digits + string.punctuation + "ÀéßŁő“…♪":
        assert encode(f"{character} a{character}", tokenizer).count(unknown) == 0
    assert len(encode("Straße [laughs] WORLD!", tokenizer)) == len("Straße[laughs]WORLD!")


def test_encoding_has_the_offset_and_dtype() -> None:
    tokenizer = builtin_tokenizer()
    ids = encode_text(tokenizer, " a  b ", TINY)
    assert ids.dtype == np.int32
    assert ids.tolist() == [TINY.text_offset + tokenizer.token_to_id(c) for c in "ab"]


@pytest.mark.parametrize("lead", ["", "é你\u200b", "𝄞 "])
@pytest.mark.filterwarnings("ignore:the tokenizer does not know")
def test_long_text_is_cut_and_the_loss_quoted(lead: str) -> None:
    tokenizer = builtin_tokenizer()
    text = lead + "a" * 50 + " b" * TINY.max_text + " the end"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    kept_of_b = TINY.max_text - ids.index(tokenizer.token_to_id("b"))
    lost = " ".join("b" * (TINY.max_text - kept_of_b)) + " the end"
    with pytest.warns(TextTruncated, match=rf"{len(ids)} tokens.* lost: '{lost}';"):
        assert encode(text, tokenizer) == ids[: TINY.max_text]


def test_a_text_of_exactly_the_limit_is_whole() -> None:
    assert len(encode("a " * TINY.max_text, builtin_tokenizer())) == TINY.max_text


def test_quoted_loss_is_short() -> None:
    with pytest.warns(TextTruncated) as caught:
        encode("word " * 10_000, builtin_tokenizer())
    assert len(str(caught[0].message)) < 400


def test_a_foreign_tokenizer_is_refused() -> None:
    foreign = Tokenizer(WordPiece({"[UNK]": 0, "low": 1, "high": TINY.text_pad - TINY.text_offset}, unk_token="[UNK]"))
    assert encode("low", foreign) == [1]
    with pytest.raises(TextError, match=r"'high'.*tokenizer of this model"):
        encode_text(foreign, "high", TINY)


@pytest.mark.parametrize("file", ["tokenizer.json", "vocab.txt"])
@pytest.mark.filterwarnings("ignore:the tokenizer does not know")
def test_published_tokenizer_gives_the_recorded_ids(shared_data: Path, file: str) -> None:
    tokenizer = load_tokenizer(shared_data / "bark-small" / file)
    for case in json.loads((shared_data / "tokenizer_golden.json").read_text(encoding="utf-8")):
        text, ids = case["text"], case["ids_fast_5.23"]
        assert tokenizer.encode(text, add_special_tokens=False).ids == ids, text
        if ids and unicodedata.is_normalized("NFC", text):
            assert encode(text, tokenizer, PUBLISHED) == ids, text


@pytest.mark.parametrize("text", ["한국어 텍스트", "Résumé, naïve, Ångström", "É, ü, ñ", "が、パ"])
def test_decomposed_text_has_the_tokens_of_the_composed(shared_data: Path, text: str) -> None:
    tokenizer = load_tokenizer(shared_data / "bark-small")
    assert encode(unicodedata.normalize("NFD", text), tokenizer, PUBLISHED) == encode(text, tokenizer, PUBLISHED)


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        (["Don’t “quote” me… ok—fine"], "’, “, ”, …, —"),
        (["Yes 👍👍 well 👍.", "\u2028 No 🎉!"], "👍, 🎉"),
        (["".join(map(chr, range(0x1F600, 0x1F640)))], ", ".join(map(chr, range(0x1F600, 0x1F614))) + " and 44 more"),
    ],
)
def test_what_the_tokenizer_does_not_know_is_named_once(shared_data: Path, texts: list[str], named: str) -> None:
    reader = TextReader(load_tokenizer(shared_data / "bark-small"), PUBLISHED)
    with pytest.warns(TextWarning) as caught:
        assert len(reader.encode(texts)) == len(texts)
    (warning,) = caught
    assert str(warning.message) == f"the tokenizer does not know {named}: the model cannot read it"
    assert warning.filename == __file__


def test_a_word_that_is_unknown_though_its_characters_are_not_is_named() -> None:
    with pytest.warns(TextWarning, match=r"does not know a{40}…:"):
        encode("b " + "a" * 101, builtin_tokenizer())


def test_words_that_the_model_was_not_trained_on_are_named_once() -> None:
    config = dataclasses.replace(TINY, words=("hello", "don't", "0:00", "at", "have", "zoe", "one", "0"))
    reader = TextReader(builtin_tokenizer(), config)
    reader.encode(["Hello, Zoë: don’t! “One-one” 3 at 7:32…", "♪ hello ♪ - ?"])
    with pytest.warns(TextWarning, match=r"not trained on Doesn't, \$3, 12:30pm, Hallo: expect other words") as caught:
        reader.encode(["Hello, Doesn't Zoe have $3?", "(12:30pm) Hallo, hallo"])
    assert len(caught) == 1
