"""Numbers in words, as espeak-ng's American English reads digits."""

from collections.abc import Sequence

_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUES = {word: n for n, word in enumerate(_SMALL)} | {word: 20 + 10 * n for n, word in enumerate(_TENS)}
_IRREGULAR = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
END = 1_000_000  # of the numbers that can be spelled


def spell(number: int) -> list[str]:
    """The words of a number in 0 … 999 999. Raises ValueError for others."""
    if not 0 <= number < END:
        raise ValueError(f"a number in 0 … {END - 1:,} can be spelled, not {number}")
    if number < 20:
        return [_SMALL[number]]
    if number < 100:
        return [_TENS[number // 10 - 2], *_rest(number % 10)]
    if number < 1000:
        return [_SMALL[number // 100], "hundred", *_rest(number % 100)]
    return [*spell(number // 1000), "thousand", *_rest(number % 1000)]


def _rest(number: int) -> list[str]:
    return spell(number) if number else []


def ordinal(word: str) -> str:
    """The ordinal of a cardinal's last word: "twenty" → "twentieth"."""
    return _IRREGULAR.get(word) or (word.removesuffix("y") + "ieth" if word.endswith("y") else f"{word}th")


_CARDINALS = {ordinal(word): word for word in _VALUES}


def value(words: Sequence[str]) -> int:
    """The number that cardinal or ordinal words say; the inverse of `spell`. Raises KeyError for other words."""
    total = part = 0
    for word in words:
        if word == "hundred":
            part *= 100
        elif word == "thousand":
            total, part = part * 1000, 0
        else:
            part += _VALUES[_CARDINALS.get(word, word)]
    return total + part
