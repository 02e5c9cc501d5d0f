"""Songs between two ♪: each part of one gets both marks, since Bark sings only what stands between them."""

import re
from collections.abc import Sequence

NOTE = "♪"
_RUN = re.compile("♪(?:[ \t]*♪)+")


def close_songs(texts: Sequence[str]) -> list[str]:
    """The passages of a text, those with a part of a song that began in another with a ♪ at that end.

    A ♪ opens a song that the next one closes. One that has no other, and a passage that begins with a new ♪ while a
    song is open, are left as they are.
    """
    closed = list(texts)
    opener: int | None = None
    for index, text in enumerate(texts):
        if text.count(NOTE) % 2 == 0:
            continue
        if opener is None or (text.lstrip().startswith(NOTE) and text.strip() != NOTE):
            opener = index
            continue
        closed[opener] = f"{texts[opener].rstrip()} {NOTE}"
        for between in range(opener + 1, index):
            if texts[between].strip() and NOTE not in texts[between]:
                closed[between] = f"{NOTE} {texts[between].strip()} {NOTE}"
        closed[index] = "" if text.strip() == NOTE else f"{NOTE} {text.lstrip()}"
        opener = None
    return closed


def pair_notes(text: str) -> tuple[str, list[str]]:
    """The text with a closing ♪ for each song that lacks one, and the lines that begin those that nothing ends.

    Several ♪ in a row are one. A line that begins with ♪ while a song is open begins another, and the open one ends
    before it: lyrics are often written with one ♪ a line. One that nothing ends is over with its paragraph.
    """
    lines = _RUN.sub(NOTE, text).split("\n")
    unended: list[str] = []
    opener: int | None = None
    for index, line in enumerate(lines):
        begins = line.lstrip().startswith(NOTE) and line.strip() != NOTE
        if begins and opener is not None:
            _append(lines, index - 1)
            opener = None
        if line.count(NOTE) % 2:
            opener = index if opener is None else None
    if opener is not None and lines[opener].lstrip().startswith(NOTE) and lines[opener].strip() != NOTE:
        unended.append(lines[opener].strip())
        blank = (i for i in range(opener, len(lines)) if not lines[i].strip())
        _append(lines, next(blank, len(lines)) - 1)
    return "\n".join(lines), unended


def _append(lines: list[str], index: int) -> None:
    """End the last line up to `index` that has words with a ♪."""
    while not lines[index].strip():
        index -= 1
    lines[index] = f"{lines[index].rstrip()} {NOTE}"


def song_spans(text: str) -> list[tuple[int, int]]:
    """Where the songs of a line are, their marks included."""
    return [match.span() for match in re.finditer(f"{NOTE}[^{NOTE}]*{NOTE}", text)]


def sung(text: str, start: int, end: int, songs: Sequence[tuple[int, int]]) -> str:
    """`text[start:end]` stripped, with a ♪ at each end that lies within a song."""
    part = text[start:end].strip()
    if any(first < start < last for first, last in songs) and not part.startswith(NOTE):
        part = f"{NOTE} {part}"
    if any(first < end < last for first, last in songs) and not part.endswith(NOTE):
        part = f"{part} {NOTE}"
    return part
