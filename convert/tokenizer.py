"""The tokenizer of a source: its own, or Bark's published one where Suno's code has left it out."""

import hashlib
from pathlib import Path

from tokenizers import Tokenizer

from bark_jax.hub import cached_file
from bark_jax.layouts import TOKENIZER_REPOSITORY
from bark_jax.text import TextError, load_tokenizer

from .errors import ConversionError

_REPOSITORIES = (TOKENIZER_REPOSITORY, "bert-base-multilingual-cased", "suno/bark-small", "suno/bark")
_FILES = ("vocab.txt", "tokenizer.json")
_VOCABULARY = "7974e1090ba19a88b6e456195d4aa7f9f13ea8d4876b0a362c425a2444708f5a"  # of its words, one a line, SHA-256


def read_tokenizer(folder: Path, given: Path | None) -> str:
    """JSON of the tokenizer that is given, else that in the folder, else Bark's in the hub's cache.

    Raises ConversionError naming what to do.
    """
    try:
        return load_tokenizer(given or folder).to_str()
    except TextError as error:
        if given is None and not any((folder / name).exists() for name in _FILES) and (found := _published()):
            return found.to_str()
        raise ConversionError(
            f"{error}; Bark's is not in the hub's cache either: put its vocab.txt, from {TOKENIZER_REPOSITORY}, into "
            f"{folder}, or run bark-jax convert {folder} OUT --tokenizer {TOKENIZER_REPOSITORY}"
        ) from error


def _published() -> Tokenizer | None:
    """Bark's tokenizer out of the hub's cache, if what lies there is the published one."""
    for repository in _REPOSITORIES:
        for name in _FILES:
            if path := cached_file(repository, name):
                tokenizer = load_tokenizer(path)
                if vocabulary_hash(tokenizer) == _VOCABULARY:
                    return tokenizer
    return None


def vocabulary_hash(tokenizer: Tokenizer) -> str:
    """SHA-256 of the words in the order of their ids, one a line."""
    vocabulary = tokenizer.get_vocab()
    return hashlib.sha256("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)).encode()).hexdigest()
