"""Values in messages."""

import pytest

from bark_jax.quoting import quote, shorten


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("a\n", r"'a\n'"),
        (2**64, "18446744073709551616"),
        (10**5000, "some int"),
        (Unprintable(), "some Unprintable"),
        ([1] * 10**6, "[" + "1, " * 99 + "1, …"),
    ],
    ids=range(5),
)
def test_any_value_is_quoted_briefly(value: object, quoted: str) -> None:
    assert quote(value) == quoted


def test_only_long_texts_are_cut() -> None:
    assert shorten(ValueError("why")) == "why"
    assert shorten("x" * 300) == "x" * 300
    assert shorten("x" * 301) == "x" * 300 + " …"
