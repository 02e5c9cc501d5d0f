"""The nano model's tokenizer: WordPieces of one character each.

Whole words would be fewer tokens, but a rare word shares its letters with frequent ones, and is learned with them.
"""

import string

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

_UNKNOWN = "[UNK]"
_CHARACTERS = string.ascii_lowercase + string.digits + string.punctuation
_PIECES = (_UNKNOWN, *_CHARACTERS, *(f"##{c}" for c in _CHARACTERS if c.isalnum()))
TEXT_VOCAB = len(_PIECES)


def make_tokenizer() -> Tokenizer:
    """A tokenizer of `TEXT_VOCAB` entries; whatever ASCII can spell has tokens.

    It lowers case and drops accents, as Bark's BERT tokenizer does not.
    """
    tokenizer = Tokenizer(WordPiece({piece: i for i, piece in enumerate(_PIECES)}, unk_token=_UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    tokenizer.add_special_tokens([_UNKNOWN])
    return tokenizer
