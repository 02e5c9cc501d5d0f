"""The nano model's tokenizer: WordPieces that are the domain's words, and characters for all else.

A digit is a token, so that numbers are read as they are spelled.
"""

import string

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from recipes.nano.grammar import DOMAIN, read_grammar, words_of

_UNKNOWN = "[UNK]"
_CHARACTERS = string.ascii_lowercase + string.digits + string.punctuation
_WORDS = {part for word in words_of(read_grammar(DOMAIN)) for part in word.split("'")} - set(_CHARACTERS)
_PIECES = (_UNKNOWN, *_CHARACTERS, *(f"##{c}" for c in _CHARACTERS if c.isalnum()), *sorted(_WORDS))
TEXT_VOCAB = len(_PIECES)


def make_tokenizer() -> Tokenizer:
    """A tokenizer of `TEXT_VOCAB` entries; everything that ASCII can spell has tokens.

    It lowers case and drops accents, as Bark's BERT tokenizer does not.
    """
    tokenizer = Tokenizer(WordPiece({piece: i for i, piece in enumerate(_PIECES)}, unk_token=_UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    tokenizer.add_special_tokens([_UNKNOWN])
    return tokenizer
