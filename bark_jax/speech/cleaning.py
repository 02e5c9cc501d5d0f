"""Texts that were written to be looked at → texts to be read out: Markdown, HTML, typography, emoji.

- Markdown: headings, items of lists and rows of tables become paragraphs, links are read by their text, emphasis is
  dropped, blocks of code are left out. So are the tags of HTML.
- Typography becomes ASCII (’“”…— as '""... -): Bark's tokenizer knows none of it.
- Emoji are left out.
"""

import html
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.common.utils import normalizeReference
from markdown_it.token import Token

from bark_jax.speech.marks import find_marks, without_marks
from bark_jax.text import TextError, TextWarning, compose, name_all

_ASCII = {
    **dict.fromkeys("‘’‚‛′ʼ´`＇", "'"), **dict.fromkeys("“”„‟″〝〞", '"'), **dict.fromkeys("‐‑‒−", "-"), "…": "...",
    "‥": "..", "\u00ad": "", "\u200b": "", "\u2060": "", "\ufeff": "", "\0": "",
    **dict.fromkeys("🎵🎶♩♫♬", "♪"),  # the one note that means a song to Bark
}  # fmt: skip
_TYPOGRAPHY = re.compile("[" + "".join(_ASCII) + "]")
_RANGE = re.compile(r"(?<=\d)\s?[–—]\s?(?=\d)")  # 10–12
_DASH = re.compile(r"[ \t]*[–—―⸺⸻﹘]+[ \t]*")
_LOOKS = re.compile("[\ufb00-\ufb06\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff]")  # ﬁ, Ａ, 𝐀
_BULLETS = re.compile(r"^([ \t]*)(?:[•●▪◦‣]|[a-z]\))[ \t]+(?=\S)", re.MULTILINE)

_PICTURE = "[\U0001f000-\U0001faff\u2600-\u2668\u2670-\u27bf\u2b00-\u2bff\u231a-\u23ff]"  # but for ♩ ♪ ♫ ♬
_FLAG = "[\U0001f1e6-\U0001f1ff]{2}"
_JOINED = f"[\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]|\u200d{_PICTURE}"
_CLUSTER = f"(?:{_FLAG}|{_PICTURE}(?:{_JOINED})*)"
_KEYCAP = re.compile("(?<=[0-9#*])\ufe0f?\u20e3")
_EMOJI = re.compile(rf"[ \t]*((?:{_CLUSTER}[ \t]*)+)(\w?)")

_CELLS = ("td", "th")
_LINES = (  # elements that begin a line, but for those of SSML too, which `speech.marks` reads
    "address", "article", "aside", "blockquote", "br", "caption", "center", "dd", "details", "dialog", "div", "dl",
    "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup",
    "hr", "legend", "li", "main", "menu", "nav", "ol", "optgroup", "option", "pre", "search", "section", "select",
    "summary", "table", "tbody", "tfoot", "thead", "title", "tr", "ul",
)  # fmt: skip
_WITHIN = (
    "a", "abbr", "acronym", "area", "b", "base", "bdi", "bdo", "big", "body", "button", "canvas", "cite", "code",
    "col", "colgroup", "data", "datalist", "del", "dfn", "em", "embed", "font", "head", "html", "i", "iframe", "img",
    "input", "ins", "kbd", "label", "link", "map", "meter", "nobr", "noscript", "object", "output", "picture",
    "progress", "q", "rp", "rt", "ruby", "samp", "slot", "small", "source", "span", "strike", "strong", "sup",
    "svg", "template", "textarea", "time", "track", "tt", "u", "var", "video", "wbr",
)  # fmt: skip
_HTML = re.compile(
    rf"""</?({"|".join((*_CELLS, *_LINES, *_WITHIN))})(?:\s(?:(?:[^<>"']|"[^"]*"|'[^']*')*|[^<>]*))?/?>""",
    re.IGNORECASE,
)
_LAST_CELL = re.compile(r"\s*</?(?:tr|thead|tbody|tfoot|table)\b", re.IGNORECASE)
_UNSEEN = re.compile(r"<!--.*?-->|<(script|style)\b[^<>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_MARKDOWN = re.compile(  # what a text without any needs no parser for
    r"[*_`~\\|]|\][(\[]|\[\^|<\w+:|^[ \t]*(?:[#>+-]|\d{1,9}[.)]\s|=+[ \t]*$)", re.MULTILINE
)
_PRODUCT = re.compile(r"(?<=\d)\*(?=\d)")  # 2*3*4 is no emphasis
_TASK = re.compile(r"^([ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+)\[[ xX]\][ \t]+", re.MULTILINE)  # - [x] done
_FOOTNOTE = re.compile(r"\[\^[^\]\s]{1,40}\](?::[ \t]*)?")
_REFERENCE = re.compile(  # [1]: https://example.org "Title"
    r"""^[ ]{0,3}\[([^\[\]\n]+)\]:[ \t]*(<?(?:https?://|mailto:|www\.|[/#])\S*)(?:[ \t]+["'(].*)?[ \t]*$\n?""",
    re.MULTILINE,
)
_BREAKS = ("softbreak", "hardbreak")


def clean(text: str) -> str:
    """The text as it is to be read out.

    Warns with TextWarning, once each, naming the tags, blocks of code and emoji that are left out. Raises TextError
    when nothing is left to say.
    """
    spoken, tags = _without_html("\n".join(compose(text).splitlines()))
    spoken = _BULLETS.sub(r"\1- ", spoken)
    spoken, code = _read_markdown(spoken) if _MARKDOWN.search(spoken) else (spoken, [])
    spoken, emoji = _without_emoji(_in_ascii(spoken))
    left_out = {"HTML tags": tags, "blocks of code": code, "emoji": emoji}
    if (code or emoji) and not re.search(r"[^\W_]", without_marks(spoken)):
        raise TextError(
            f"nothing to say: the text has only {' and '.join(k for k, names in left_out.items() if names)}"
        )
    for kind, names in left_out.items():
        if names:
            warnings.warn(f"{kind} that are not spoken: {name_all(names)}", TextWarning, stacklevel=2)
    return spoken


def _without_html(text: str) -> tuple[str, list[str]]:
    tags = [(match[1] or "comment").lower() for match in _UNSEEN.finditer(text)]
    text = _UNSEEN.sub("", text)
    tags += [match[1].lower() for match in _HTML.finditer(text)]
    return _HTML.sub(_instead, text), tags


def _instead(tag: re.Match[str]) -> str:
    name = tag[1].lower()
    if name in _CELLS:
        return ", " if tag[0].startswith("</") and not _LAST_CELL.match(tag.string, tag.end()) else ""
    return "\n" if name in _LINES else ""


def _in_ascii(text: str) -> str:
    if not any(match.groupdict().get("attributes") is not None for match in find_marks(text)):
        text = html.unescape(text)  # else it is SSML, which is decoded when it is read
    text = _DASH.sub(" - ", _RANGE.sub("-", text))
    text = _LOOKS.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    return _TYPOGRAPHY.sub(lambda match: _ASCII[match[0]], text)


def _without_emoji(text: str) -> tuple[str, list[str]]:
    text = _KEYCAP.sub("", text)
    names = [name for match in _EMOJI.finditer(text) for name in re.findall(_CLUSTER, match[1])]
    return _EMOJI.sub(lambda match: f" {match[2]}" if match[2] else "", text), names


@cache
def _parser() -> MarkdownIt:
    """CommonMark and tables; without what would take `[Anna]: Hi.` for a reference, or an indented line for code."""
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 100}).enable(["table", "strikethrough"])
    return parser.disable(["reference", "code", "entity"])


def _read_markdown(text: str) -> tuple[str, list[str]]:
    """The paragraphs of the text, and the first line of each block of code."""
    text = _FOOTNOTE.sub("", _TASK.sub(r"\1", _PRODUCT.sub(r"\\*", text)))
    targets = {normalizeReference(name): {"href": target, "title": ""} for name, target in _REFERENCE.findall(text)}
    tokens = _parser().parse(_REFERENCE.sub("", text), {"references": targets})
    code = [(token.content.strip() or "```").splitlines()[0] for token in tokens if token.type == "fence"]
    return "\n\n".join(_paragraphs(tokens)), code


def _paragraphs(tokens: Sequence[Token]) -> Iterator[str]:
    numbers = _numbers(tokens)
    row: list[str] | None = None  # the cells of the row of a table
    number = ""
    for index, token in enumerate(tokens):
        if token.type == "list_item_open":
            number = numbers.get(index, "")
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close" and row is not None:
            yield ", ".join(filter(None, row))
            row = None
        elif token.type == "inline":
            said = number + "".join(_words(token.children or []))
            number = ""
            if row is None:
                yield said
            else:
                row.append(said)


def _words(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type in _BREAKS:
            yield "\n"
        elif token.type == "image":
            yield from _words(token.children or [])
        else:
            yield token.content


def _numbers(tokens: Sequence[Token]) -> dict[int, str]:
    """The numbers, by the place of their items, that are spoken, since they count nothing: "3. Oktober"."""
    lists: list[list[int]] = []  # those that are open
    spoken: dict[int, str] = {}
    for index, token in enumerate(tokens):
        if token.type in ("ordered_list_open", "bullet_list_open"):
            lists.append([])
        elif token.type == "list_item_open":
            lists[-1].append(index)
        elif token.type in ("ordered_list_close", "bullet_list_close"):
            items = lists.pop()
            if token.type == "ordered_list_close" and not _counts(tokens, items):
                spoken |= {item: f"{tokens[item].info}{tokens[item].markup} " for item in items}
    return spoken


def _counts(tokens: Sequence[Token], items: Sequence[int]) -> bool:
    """Whether the items are numbered from 0 or 1 on, or all alike; a lone one counts if there is other Markdown."""
    numbers = [int(tokens[item].info) for item in items]
    if len(numbers) > 1:
        return numbers in (list(range(len(numbers))), list(range(1, len(numbers) + 1)), [1] * len(numbers))
    plain = ("paragraph", "list_item", "ordered_list", "inline")
    marked = any(not token.type.startswith(plain) for token in tokens)
    styled = any(child.type not in ("text", *_BREAKS) for token in tokens for child in token.children or [])
    return numbers in ([0], [1]) and (marked or styled)
