"""Texts that were written to be looked at, as they are read out."""

import warnings

import pytest

from bark_jax.speech.cleaning import clean
from bark_jax.text import TextError, TextWarning


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don’t “quote” me… ok—fine", 'Don\'t "quote" me... ok - fine'),
        ("10–12 years, 3 — 4, ‘so’ − „he“", "10-12 years, 3-4, 'so' - \"he\""),
        ("## List", "List"),
        ("# List #\n\n1. **Milk**: see [our shop](https://shop.example.org/m?id=7)", "List\n\nMilk: see our shop"),
        ("1. **Milk**: see [our shop](https://shop.example.org/m?id=7)", "Milk: see our shop"),
        ("- Milk\n- *Eggs*\n  - `free` range\n", "Milk\n\nEggs\n\nfree range"),
        ("1. Milk\n2. Eggs", "Milk\n\nEggs"),
        ("| Name | Price |\n|------|:-----:|\n| Milk | 2 |\n| Eggs | |", "Name, Price\n\nMilk, 2\n\nEggs"),
        ("> A ~~quote~~\n> of __two__ lines", "A quote\nof two lines"),
        ("Look: ![a cat](cat.png) \\*here\\*", "Look: a cat *here*"),
        ("One\n\n* * *\n\nTwo &amp; three", "One\n\nTwo & three"),
        ("3. Oktober ist ein Feiertag.", "3. Oktober ist ein Feiertag."),
        ("1. Mai", "1. Mai"),
        ("1984. It was a bright cold day.", "1984. It was a bright cold day."),
        ("3. Mai\n5. Juni", "3. Mai\n\n5. Juni"),
        ("[Anna]: Hi.\n**Tom:** Hi.\n\n    Indented.", "[Anna]: Hi.\nTom: Hi.\n\nIndented."),
        ("[pause 2] snake_case 2*3*4 [laughs] #5 a|b ♪ la ♪", "[pause 2] snake_case 2*3*4 [laughs] #5 a|b ♪ la ♪"),
        ('<speak>A &lt;b&gt; <break time="1s"/></speak>', '<speak>A &lt;b&gt; <break time="1s"/></speak>'),
        ("- [ ] Milk\n- [x] Eggs", "Milk\n\nEggs"),
        ("See [a shop][1] and [it][].\n\n[1]: https://example.org 'Shop'\n[it]: /it", "See a shop and it."),
        ("A note[^1] here.\n\n[^1]: See *there*.", "A note here.\n\nSee there."),
        ("1️⃣ First, 2⃣ second", "1 First, 2 second"),
        ("🎵 La la 🎶", "♪ La la ♪"),
        ("The oﬃce in the ﬁrst ﬂoor, Ｈｅｌｌｏ ３ 𝐇𝐞𝐥𝐥𝐨", "The office in the first floor, Hello 3 Hello"),
        ("it´s ⸺ 〝so〞＇", "it's - \"so\"'"),
        ("• First\n• Second\n  ◦ third", "First\n\nSecond\n\nthird"),
        ("a) First\nb) Second", "First\n\nSecond"),
        ("25 °C → ½ €, «Résumé» 你好。", "25 °C → ½ €, «Résumé» 你好。"),
    ],
)
def test_what_is_read_out(text: str, expected: str) -> None:
    assert clean(text) == expected
    assert clean(expected) == expected or "\\*" in text


@pytest.mark.parametrize(
    ("text", "expected", "named"),
    [
        ("Great job! 🎉 See you", "Great job! See you", "emoji that are not spoken: 🎉"),
        ("Hi 👩🏽‍🚀👋🏻, yes❤️no 🇩🇪.", "Hi, yes no.", "emoji that are not spoken: 👩🏽‍🚀, 👋🏻, ❤️, 🇩🇪"),
        ("See:\n```python\nx = 1\n```\nDone.", "See:\n\nDone.", "blocks of code that are not spoken: x = 1"),
        ("A<!-- b\nc --> d<style>e {}</style>", "A d", "HTML tags that are not spoken: comment, style"),
        (
            "<table><tr><td>Milk</td><td>2 euros</td></tr>\n<tr><th>Eggs</th><th class='a>b'>3</th></tr></table>",
            "Milk, 2 euros\n\n\nEggs, 3",
            "HTML tags that are not spoken: table, tr, td, th",
        ),
        (
            "<details><summary>More</summary>Body<main><label>a</label> < b</main>",
            "More\nBody\na < b",
            "HTML tags that are not spoken: details, summary, main, label",
        ),
        ("<i title=don't>it</i>'s here", "it's here", "HTML tags that are not spoken: i"),
        ("A <b>bold</b> word<br>here", "A bold word\nhere", "HTML tags that are not spoken: b, br"),
    ],
)
def test_what_is_left_out_is_named_once(text: str, expected: str, named: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert clean(text).strip() == expected
    (warning,) = caught
    assert warning.category is TextWarning
    assert str(warning.message) == named


@pytest.mark.parametrize("text", ["👍", "👍🏽 ❤️ !", "```\nx = 1\n```", "[pause 2] 🎉", "- 🎉"])
def test_what_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(TextError, match=r"nothing to say: the text has only (emoji|blocks of code)"):
        clean(text)


@pytest.mark.parametrize("text", ["...", "", "  ", "?!"])
def test_other_texts_are_left_to_the_tokenizer(text: str) -> None:
    assert clean(text).strip() == text.strip()
