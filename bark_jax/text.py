"""Text → token ids of the semantic stage: normalised, cut into WordPieces, shifted into the stage's vocabulary."""

import re
import string
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from bark_jax.config import SemanticConfig
from bark_jax.errors import InputError

_SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_QUOTED = 200  # characters of the lost text that a warning quotes


class TextError(InputError):
    """A text that cannot be spoken, or a tokenizer that cannot be used."""


class TextTruncated(UserWarning):
    """A text has more tokens than the semantic stage reads."""


def normalize(text: str) -> str:
    """Collapse every run of whitespace to one space and strip the ends. Raises TextError when nothing is left."""
    if not isinstance(text, str):
        raise TextError(f"a text is a str, not {type(text).__name__}")
    text = " ".join(text.split())
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


def encode_text(tokenizer: Tokenizer, text: str, config: SemanticConfig) -> npt.NDArray[np.int32]:
    """Token ids, int32 [n], 1 ≤ n ≤ `config.max_text`, of the normalised text; `config.text_offset` is added.

    No special tokens. Warns with TextTruncated, quoting what is lost, when the text has more tokens. Raises TextError
    for a text without tokens and for a tokenizer whose ids are outside the model's text vocabulary.
    """
    text = normalize(text)
    encoding = tokenizer.encode(text, add_special_tokens=False)
    ids = np.asarray(encoding.ids, np.int64) + config.text_offset
    if not ids.size:
        raise TextError(f"nothing in the text can be spoken: {text[:_QUOTED]!a}")
    if ids.max() >= min(config.text_pad, config.gpt.input_vocab):
        token = encoding.tokens[ids.argmax()]
        raise TextError(f"token {token!r} is outside the model's vocabulary: use the tokenizer of this model")
    if len(ids) > config.max_text:
        lost = text[encoding.offsets[config.max_text][0] :]
        quoted = repr(lost[:_QUOTED]) + " …" * (len(lost) > _QUOTED)
        warnings.warn(
            f"the text has {len(ids)} tokens, the model reads {config.max_text}; lost: {quoted}; split the text",
            TextTruncated, stacklevel=2,
        )  # fmt: skip
    return ids[: config.max_text].astype(np.int32)
