"""Text → token ids of the semantic stage: normalised, cut into WordPieces, shifted into the stage's vocabulary."""

import re
import string
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from bark_jax.config import SemanticConfig
from bark_jax.errors import InputError

_SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_QUOTED = 200  # characters of the lost text that a warning quotes
_NAMED = 20  # characters or words that a warning names
_LONG_NAME = 40  # characters
_AROUND_WORDS = ".,;:!?¿¡…\"'()[]{}«»‹›“”‘’„‚♪*_~`"
_KEPT = 4096  # readings that a reader keeps: those of a long text's pieces are wanted twice


class TextError(InputError):
    """A text that cannot be spoken, or a tokenizer that cannot be used."""


class TextWarning(UserWarning):
    """Some of a text is not spoken as it stands: the message names it."""


class TextTruncated(TextWarning):
    """A text has more tokens than the semantic stage reads."""


def compose(text: str) -> str:
    """The text in the composed form (NFC) that tokenizers were trained on. Raises TextError for what is no string."""
    if not isinstance(text, str):
        raise TextError(f"a text is a str, not {type(text).__name__}")
    return unicodedata.normalize("NFC", text)


def normalize(text: str) -> str:
    """Compose characters, collapse every run of whitespace to one space and strip the ends.

    Raises TextError for a text without anything else, or with a lone surrogate.
    """
    text = " ".join(compose(text).split())
    if not text:
        raise TextError("the text is empty")
    surrogate = re.search("[\ud800-\udfff]", text)
    if surrogate:
        raise TextError(f"character {surrogate.start()} of the text is a lone surrogate: decode the text as UTF-8")
    return text


def load_tokenizer(path: Path | str) -> Tokenizer:
    """The tokenizer in a `tokenizer.json`, in a BERT `vocab.txt`, or in a folder with either (the former preferred).

    Truncation and padding that the file asks for are switched off. Raises TextError naming the file.
    """
    file = _tokenizer_file(Path(path))
    try:
        if file.suffix == ".txt":
            tokenizer = _wordpiece(WordPiece.read_file(str(file)))
        else:
            tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exceptions
        raise TextError(f"{file} is not a tokenizer: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _tokenizer_file(path: Path) -> Path:
    candidates = [path / "tokenizer.json", path / "vocab.txt"] if path.is_dir() else [path]
    for file in candidates:
        if file.is_file():
            return file
    raise TextError(f"there is no tokenizer at {path}: give a tokenizer.json, a vocab.txt or a folder with one of them")


def builtin_tokenizer() -> Tokenizer:
    """A WordPiece tokenizer for untrained models: it spells text in Latin letters, one token per character."""
    latin = [chr(c) for c in range(0xC0, 0x180)]  # the letters of Latin-1 Supplement and Latin Extended-A
    characters = [*string.ascii_letters, *string.digits, *string.punctuation, *latin, *"¡¿«»–—‘’“”…♪€"]
    tokens = [*_SPECIAL_TOKENS, *characters, *(f"##{c}" for c in characters)]
    return _wordpiece({token: index for index, token in enumerate(tokens)})


def _wordpiece(vocabulary: dict[str, int]) -> Tokenizer:
    """BERT's cased tokenizer: accents stay, Chinese characters stand alone, each word is cut greedily from the left."""
    if "[UNK]" not in vocabulary:
        raise ValueError("its vocabulary has no [UNK]")
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False
    )
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.add_special_tokens([token for token in _SPECIAL_TOKENS if token in vocabulary])
    return tokenizer


class Reading(NamedTuple):
    """A text as the semantic stage reads it."""

    ids: npt.NDArray[np.int32]  # [n], 1 ≤ n ≤ max_text, with the text offset
    tokens: int  # of the whole text
    lost: str  # the end of the text that has no room
    unknown: tuple[str, ...]  # characters (or words) the tokenizer does not know
    untaught: tuple[str, ...]  # words the model was not trained on


class TextReader:
    """A tokenizer and what its model knows. A text that is read again is not tokenised again."""

    def __init__(self, tokenizer: Tokenizer, config: SemanticConfig) -> None:
        self._tokenizer, self._config = tokenizer, config
        self._encode = lru_cache(_KEPT)(self._encode_once)

    def _encode_once(self, text: str) -> Encoding:
        return self._tokenizer.encode(text, add_special_tokens=False)

    def count(self, text: str) -> int:
        """How many tokens a text has."""
        return len(self._encode(text).ids)

    def read(self, text: str) -> Reading:
        """The normalised text's token ids and what is lost on the way, without a warning.

        No special tokens. Raises TextError for a text without tokens and for a tokenizer whose ids are outside the
        model's text vocabulary.
        """
        text, config = normalize(text), self._config
        encoding = self._encode(text)
        ids = np.asarray(encoding.ids, np.int64) + config.text_offset
        if not ids.size:
            raise TextError(f"nothing in the text can be spoken: {text[:_QUOTED]!a}")
        if ids.max() >= min(config.text_pad, config.gpt.input_vocab):
            token = encoding.tokens[ids.argmax()]
            raise TextError(f"token {token!r} is outside the model's vocabulary: use the tokenizer of this model")
        room = config.max_text
        return Reading(
            ids=ids[:room].astype(np.int32),
            tokens=len(ids),
            lost=text[encoding.offsets[room][0] :] if len(ids) > room else "",
            unknown=tuple(dict.fromkeys(self._unknown(text, encoding))),
            untaught=self._untaught(text),
        )

    def _unknown(self, text: str, encoding: Encoding) -> Iterator[str]:
        """Each character without a token; the whole word if its characters have tokens when they stand alone."""
        unknown = self._tokenizer.token_to_id("[UNK]")
        places = dict.fromkeys(at for at, id in zip(encoding.offsets, encoding.ids, strict=True) if id == unknown)
        for word in dict.fromkeys(text[start:end] for start, end in places):
            if word != "[UNK]":
                alone = [character for character in dict.fromkeys(word) if unknown in self._encode(character).ids]
                yield from alone or [word]

    def _untaught(self, text: str) -> tuple[str, ...]:
        """The words that are not among the model's, if it has a list of them."""
        if not self._config.words:
            return ()
        taught = _set_of(self._config.words)
        words = {word_form(word): word for word in reversed(list(words_of(text)))}  # the first of those alike
        return tuple(words[form] for form in reversed(words) if form not in taught)

    def encode(self, texts: Iterable[str]) -> list[npt.NDArray[np.int32]]:
        """The token ids of texts, with one warning for all of them of each kind (see `warn_of`)."""
        readings = [self.read(text) for text in texts]
        warn_of(readings, stacklevel=3)
        return [reading.ids for reading in readings]


_set_of = lru_cache(8)(frozenset[str])


def words_of(text: str) -> Iterator[str]:
    """What is between spaces and hyphens, without the punctuation around it."""
    for part in re.split(r"[\s–—-]+", text):
        word = part.strip(_AROUND_WORDS)
        if any(character.isalnum() for character in word):
            yield word


def word_form(word: str) -> str:
    """What two words have in common that are read alike: "Zoë" and "zoe", "7:32" and "4:15"."""
    letters = unicodedata.normalize("NFD", word.replace("’", "'").casefold())
    return re.sub(r"\d", "0", "".join(c for c in letters if unicodedata.category(c) != "Mn"))


def known_words(texts: Iterable[str]) -> tuple[str, ...]:
    """The forms of all words of some texts, sorted: `SemanticConfig.words` of a model that was trained on them."""
    return tuple(sorted({word_form(word) for text in texts for word in words_of(text)}))


def truncation(reading: Reading) -> str:
    """What is wrong with a text that has no room, quoting what is lost; else ""."""
    if not reading.lost:
        return ""
    quoted = repr(reading.lost[:_QUOTED]) + " …" * (len(reading.lost) > _QUOTED)
    return f"the text has {reading.tokens} tokens, the model reads {len(reading.ids)}; lost: {quoted}; split the text"


def warn_of(readings: Sequence[Reading], *, stacklevel: int) -> None:
    """Warn with TextTruncated of each text that is too long, and with TextWarning, once for all, of other losses.

    Those name the characters that the tokenizer does not know, and the words that the model was not trained on.
    """
    for problem in filter(None, map(truncation, readings)):
        warnings.warn(problem, TextTruncated, stacklevel=stacklevel)
    for names, what in (
        (
            [c for reading in readings for c in reading.unknown],
            "the tokenizer does not know {}: the model cannot read it",
        ),
        (
            [w for reading in readings for w in reading.untaught],
            "the model was not trained on {}: expect other words there",
        ),
    ):
        if names:
            warnings.warn(what.format(name_all(names)), TextWarning, stacklevel=stacklevel)


def name_all(names: Iterable[str]) -> str:
    """Characters or words in a row, each once; those that cannot be printed by number."""
    unique = list(dict.fromkeys(names))
    shown = [name if len(name) <= _LONG_NAME else f"{name[:_LONG_NAME]}…" for name in unique[:_NAMED]]
    shown = [name if name.replace("\u200d", "").isprintable() else f"U+{ord(name[0]):04X}" for name in shown]
    return ", ".join(shown) + f" and {len(unique) - _NAMED} more" * (len(unique) > _NAMED)


def encode_text(tokenizer: Tokenizer, text: str, config: SemanticConfig) -> npt.NDArray[np.int32]:
    """Token ids, int32 [n], 1 ≤ n ≤ `config.max_text`, of the normalised text; `config.text_offset` is added.

    Raises as `TextReader.read` does and warns as `warn_of`.
    """
    reading = TextReader(tokenizer, config).read(text)
    warn_of([reading], stacklevel=3)
    return reading.ids
