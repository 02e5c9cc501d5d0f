"""The nano model's tokenizer: WordPieces of the training sentences."""

import re
import string
from collections.abc import Iterable

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer

from bark_jax.errors import TrainingError

_UNKNOWN = "[UNK]"
_CHARACTERS = string.ascii_lowercase + string.digits + string.punctuation


def train_tokenizer(texts: Iterable[str], vocab: int) -> Tokenizer:
    """A tokenizer of exactly so many entries; whatever ASCII can spell has tokens.

    It lowers case and drops accents, as Bark's BERT tokenizer does. Digits stay single, so that a number is read
    figure by figure however rare it is. Raises TrainingError when the texts have too few words for the vocabulary, or
    the vocabulary too little room for the characters.
    """
    learned = Tokenizer(WordPiece(unk_token=_UNKNOWN))
    learned.normalizer, learned.pre_tokenizer = BertNormalizer(lowercase=True), BertPreTokenizer()
    characters = [*_CHARACTERS, *(f"##{c}" for c in _CHARACTERS if c.isalnum())]
    # Characters that are there before the words are get the same ids, and the same pieces follow, in every run.
    trainer = WordPieceTrainer(vocab_size=vocab, show_progress=False, special_tokens=[_UNKNOWN, *characters])
    learned.train_from_iterator((re.sub(r"\d", " ", text) for text in texts), trainer)
    pieces = sorted(learned.get_vocab(), key=learned.get_vocab().__getitem__)
    if len(pieces) != vocab:
        raise TrainingError(f"a vocabulary of {vocab} entries does not fit these texts: they give {len(pieces)}")
    tokenizer = Tokenizer(WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token=_UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = learned.normalizer, learned.pre_tokenizer
    tokenizer.add_special_tokens([_UNKNOWN])
    return tokenizer
