"""What a caller hands to the pipeline, checked: tokens, seeds, and values for every item of a batch."""

import secrets
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from bark_jax.errors import InputError
from bark_jax.quoting import quote
from bark_jax.settings import Settings, SettingsError
from bark_jax.voices.voice import Voice


class TokenError(InputError):
    """Tokens of the wrong type, shape or range."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How one item of a batch is spoken."""

    voice: Voice | None
    seed: int
    settings: Settings


def per_item(name: str, value: Any, count: int) -> list[Any]:
    """One value for each of `count` items: a list or tuple has them, anything else stands for all.

    Raises ValueError when a list or tuple has another length.
    """
    if not isinstance(value, list | tuple):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{name} has {len(value)} values for {count} texts: give one for all, or one for each")
    return list(value)


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Note on errors what they are about."""
    try:
        yield
    except ValueError as error:
        error.add_note(f"This is about {what}.")
        raise


def naming_item(index: int, count: int) -> AbstractContextManager[None]:
    """Note on errors which item of a batch is to blame."""
    return naming(f"item {index} (counted from 0) of {count}") if count > 1 else nullcontext()


def check_tokens(tokens: np.ndarray, what: str, shape: tuple[int | None, ...], vocab: int) -> np.ndarray:
    """The tokens as int32. Raises TokenError unless they are integers of that shape (None: any) in [0, vocab)."""
    tokens = np.asarray(tokens)
    fits = tokens.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, tokens.shape, strict=True))
    if not fits or tokens.dtype.kind not in "iu":
        expected = "[" + ", ".join("any" if n is None else str(n) for n in shape) + "]"
        raise TokenError(f"{what} must be integers of shape {expected}, not {tokens.dtype} {list(tokens.shape)}")
    if tokens.size and (tokens.min() < 0 or tokens.max() >= vocab):
        raise TokenError(f"{what} must lie in 0 … {vocab - 1}, not {tokens.min()} … {tokens.max()}")
    return tokens.astype(np.int32)


def check_seed(seed: object) -> None:
    """Raise SettingsError unless the seed is one that makes a key of its own."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise SettingsError(f"seed must be an integer in 0 … 2³² − 1, not {quote(seed)}")


def is_fresh(seed: object) -> bool:
    """Whether a seed asks for one that is drawn."""
    return seed is None or (isinstance(seed, int | np.integer) and seed == -1)


def choose_seed(seed: int | None) -> int:
    """The seed; a fresh one, 0 … 2³¹ − 1, for None and, as many programs have it, −1. Raises as `check_seed` does."""
    if is_fresh(seed):
        return secrets.randbits(31)
    check_seed(cast(int, seed))
    return cast(int, seed)


def derive_seed(seed: int, piece: int, take: int = 0) -> int:
    """The seed of a take of a piece of a longer text, 0 … 2³² − 1, from that of the whole.

    It is NumPy's `SeedSequence(seed, spawn_key=(piece, take)).generate_state(1)[0]`, which no version of it changes.
    """
    return int(np.random.SeedSequence(seed, spawn_key=(piece, take)).generate_state(1)[0])
