"""Word error rates."""

from collections.abc import Iterable, Sequence


def word_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """The fewest insertions, deletions and substitutions that make one of the other (Levenshtein's distance)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, start=1):
        above, row = row, [i]
        for j, other in enumerate(heard, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (word != other)))
    return row[-1]


def word_error_rate(pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> float:
    """Errors per word said, over all pairs of said and heard words: 0 or more. Raises ValueError without words."""
    errors = words = 0
    for said, heard in pairs:
        errors += word_errors(said, heard)
        words += len(said)
    if not words:
        raise ValueError("there is no word in any of the texts")
    return errors / words
