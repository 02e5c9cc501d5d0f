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
    trainer = WordPieceTrainer(vocab_size=vocab, show_progress=False, special_tokens=[_UNKNOWN])
    learned.train_from_iterator((re.sub(r"\d", " ", text) for text in texts), trainer)
    pieces = sorted(learned.get_vocab(), key=learned.get_vocab().__getitem__)  # the most useful first
    entries = dict.fromkeys([_UNKNOWN, *_CHARACTERS, *(f"##{c}" for c in _CHARACTERS if c.isalnum()), *pieces])
    tokens = list(entries)[:vocab]
    if len(tokens) < vocab or vocab < 2 * len(_CHARACTERS):
        raise TrainingError(f"a vocabulary of {vocab} entries does not fit these texts: they give {len(entries)}")
    tokenizer = Tokenizer(WordPiece({token: i for i, token in enumerate(tokens)}, unk_token=_UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = learned.normalizer, learned.pre_tokenizer
    tokenizer.add_special_tokens([_UNKNOWN])
    return tokenizer
