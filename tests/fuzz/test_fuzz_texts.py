"""Any text is spoken or refused with a TextError; any file of text is read or refused by name."""

import os
import re
import threading
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import strategies as st

from bark_jax import Bark
from bark_jax.text import TextError, TextTruncated, TextWarning, encode_text, normalize

from fuzzing import Command, Fuzz

MEGABYTE = 10**6
STRANGE = st.characters(categories=["Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp", "Mn"])  # controls, surrogates, …
FAMILIAR = st.sampled_from(
    [*"aZ 0.\t\n", "[laughs] ", "♪", "—", "שלום ", "مرحبا", "\u202e", "你好", "नमस्ते", "👩‍👩‍👧", "🇩🇪"]
)
TEXTS = st.one_of(st.text(max_size=400), st.text(STRANGE, max_size=40), st.lists(FAMILIAR, max_size=400).map("".join))
TINY = ("--model", "random:tiny", "--max-seconds", "0.1", "--seed", "1", "--quiet")


def test_normalized_texts_are_words_between_single_spaces(fuzz: Fuzz) -> None:
    def check(text: str) -> None:
        speakable = text.split() and not re.search("[\ud800-\udfff]", text)
        try:
            normalized = normalize(text)
        except TextError:
            assert not speakable
        else:
            assert speakable
            assert normalized.split(" ") == unicodedata.normalize("NFC", text).split()
            assert normalize(normalized) == normalized

    fuzz(check, 300, text=TEXTS)


def test_token_ids_are_in_the_vocabulary(fuzz: Fuzz, bark: Bark) -> None:
    rules = bark.config.semantic

    def check(text: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TextWarning)
            try:
                ids = encode_text(bark.tokenizer, text, rules)
            except TextError:
                return
            assert ids.dtype == np.int32
            assert 1 <= len(ids) <= rules.max_text
            assert rules.text_offset <= ids.min() <= ids.max() < rules.text_pad
            np.testing.assert_array_equal(ids, encode_text(bark.tokenizer, normalize(text), rules))

    fuzz(check, 300, text=TEXTS)


def test_any_text_is_spoken_or_refused(fuzz: Fuzz, bark: Bark) -> None:
    def check(text: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TextWarning)
            try:
                result = bark.generate(text, seed=1, max_seconds=0.1, allow_early_stop=False)
            except TextError:
                return
        assert len(result.semantic) == 4
        assert np.isfinite(result.waveform).all()

    fuzz(check, 40, text=TEXTS)


@pytest.mark.parametrize("unit", ["a", "word ", "🙂", "\u202eא "])
def test_a_megabyte_of_text_loses_its_end_with_a_short_warning(bark: Bark, unit: str) -> None:
    text = unit * (MEGABYTE // len(unit.encode()))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ids = encode_text(bark.tokenizer, text, bark.config.semantic)
    assert len(ids) in (1, bark.config.semantic.max_text)  # one where it is a single, unknown word
    assert sum(warning.category is TextTruncated for warning in caught) == (len(ids) > 1)
    assert len(caught) <= 2
    assert all(len(str(warning.message)) < 1000 for warning in caught)


@pytest.mark.parametrize("text", [" \n" * MEGABYTE, "\0" * MEGABYTE, "a" * MEGABYTE + "\ud800"], ids=range(3))
def test_a_megabyte_of_nothing_is_refused_briefly(bark: Bark, text: str) -> None:
    with pytest.raises(TextError) as raised:
        bark.generate(text)
    assert len(str(raised.value)) < 1000


def say_file(command: Command, folder: Path, file: Path) -> tuple[int, str]:
    """Speak a file: exit code and message. The output is whole, or not there."""
    output = folder / "out.wav"
    output.unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, message = command("say", "--file", str(file), "-o", str(output), *TINY)
    assert output.exists() == (code == 0)
    if code == 0:
        assert soundfile.info(output).duration > 0
    return code, message


def test_files_of_any_bytes_are_spoken_or_refused(fuzz: Fuzz, command: Command, folder: Path) -> None:
    file = folder / "text.txt"

    def check(content: bytes) -> None:
        file.write_bytes(content)
        code, message = say_file(command, folder, file)
        assert code in (0, 2)
        assert code == 0 or message.splitlines()[-1].startswith("bark-jax: ")

    fuzz(check, 12, content=st.one_of(st.binary(max_size=200), st.text(max_size=100).map(str.encode)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the text is empty"),
        (b" \r\n\t", "the text is empty"),
        (b"\xef\xbb\xbf", "the text is empty"),
        (b"\0\x01\x02", "nothing in the text can be spoken"),
        (b"caf\xe9", "text.txt is not UTF-8 text"),
        ("Hello".encode("utf-16"), "text.txt is not UTF-8 text"),
        (b"\xed\xa0\x80", "text.txt is not UTF-8 text"),  # a surrogate
        (b"\xff" * MEGABYTE, "text.txt is not UTF-8 text"),
    ],
    ids=range(8),
)
def test_unusable_files_are_refused(command: Command, folder: Path, content: bytes, message: str) -> None:
    (folder / "text.txt").write_bytes(content)
    code, said = say_file(command, folder, folder / "text.txt")
    assert code == 2
    assert message in said
    assert len(said) < 1000


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbfHello", b"He\0llo\x1b[31m", "Héllo\u202e שלום 🙂".encode(), b"a", b"word " * 300],
    ids=range(5),
)
def test_unusual_files_are_spoken(command: Command, folder: Path, content: bytes) -> None:
    (folder / "text.txt").write_bytes(content)
    assert say_file(command, folder, folder / "text.txt")[0] == 0


@pytest.mark.parametrize("unit", ["word ", "Wort, ", "语"])
def test_a_megabyte_of_text_is_cut_into_pieces(bark: Bark, unit: str) -> None:
    text = unit * (MEGABYTE // len(unit.encode()))
    pieces = bark.cut(text).pieces
    assert "".join("".join(piece.text.split()) for piece in pieces) == "".join(text.split())


@pytest.mark.parametrize(("name", "message"), [("", "Is a directory"), ("nowhere", "No such file")])
def test_what_is_no_file_is_named(command: Command, folder: Path, name: str, message: str) -> None:
    code, said = say_file(command, folder, folder / name)
    assert code == 2
    assert message in said
    assert str(folder / name) in said


def test_a_pipe_is_read_like_a_file(command: Command, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    writer = threading.Thread(target=(folder / "pipe").write_bytes, args=[b"Hello"])
    writer.start()
    assert say_file(command, folder, folder / "pipe")[0] == 0
    writer.join()


def test_a_closed_standard_input_has_no_text(command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    code, said = command("say", "-o", str(folder / "out.wav"), *TINY)
    assert code == 2
    assert "there is no text" in said
