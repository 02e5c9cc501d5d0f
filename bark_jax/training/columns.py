"""Columns of tables of recordings: which of them mean what, by name and, in tables without a header, by content."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

# Accepted names of columns, the preferred ones first; case does not matter, and blanks and hyphens are underscores.
FILES = (
    "file", "file_name", "filename", "path", "file_path", "filepath", "audio", "audio_file", "audio_path",
    "audio_filepath", "audio_filename", "wav", "wav_file", "wav_path", "wav_filename", "recording", "clip", "id",
    "utt_id", "utterance_id", "audio_id", "file_id", "clip_id", "uttid", "utt", "name",
)  # fmt: skip
TEXTS = (
    "normalized", "normalised", "text", "transcription", "transcript", "sentence", "utterance", "raw_text",
    "raw_transcription", "original_text", "text_original", "caption", "label", "txt", "content", "ref", "reference",
)  # fmt: skip
SPEAKERS = ("speaker", "speaker_id", "speaker_name", "spk", "spk_id", "client_id")

_NORMAL, _TEXT = r"(?:norm|clean)[a-z]*", r"(?:text|sentence|transcript|transcription|utterance)"
_NORMALISED = re.compile(rf"{_NORMAL}_?{_TEXT}|{_TEXT}_?{_NORMAL}")

_FEW = 0.5  # different labels for lines, letters of labels for those of texts, and lines without a speaker, at most

Cells = list[str]


def column_name(cell: str) -> str:
    """As it stands in the lists here."""
    return cell.strip().casefold().replace(" ", "_").replace("-", "_")


def texts_among(names: Iterable[str]) -> list[str]:
    """The names of columns of text, the preferred ones first: normalised text is what is said."""
    names = list(names)
    return [name for name in names if _NORMALISED.fullmatch(name)] + [name for name in TEXTS if name in names]


def guess_columns(rows: Sequence[Cells], recording: int) -> Cells:
    """The names of columns without a header, of which that number is the recording's; "" for those not used.

    The first texts are the text and its normal form, the first labels are speakers.
    """
    width = Counter(map(len, rows)).most_common(1)[0][0]
    columns = list(zip(*(cells for cells in rows if len(cells) == width), strict=True))
    del columns[recording : recording + 1]
    longest = max((_letters(column) for column in columns), default=0)
    different = [column for column in columns if columns.count(column) == 1]  # a text may be its own normal form
    labels = [index for index, column in enumerate(columns) if column in different and _are_labels(column, longest)]
    texts = [index for index in range(len(columns)) if index not in labels] or [0]
    names = [""] * len(columns)
    for name, index in zip(("text", "normalized_text"), texts, strict=False):
        names[index] = name
    speakers = (index for index in labels if not names[index] and _may_be_speakers(columns[index]))
    if (speaker := next(speakers, None)) is not None:
        names[speaker] = "speaker"
    return [*names[:recording], "file", *names[recording:]]


def _are_labels(column: Sequence[str], longest: float) -> bool:
    """Single words that come again and again, are numbers, or are short beside the texts, `longest` letters a line."""
    filled = [cell.strip() for cell in column if cell.strip()]
    return all(len(cell.split()) == 1 for cell in filled) and (
        len(set(filled)) <= _FEW * len(filled)
        or all(cell.isdecimal() for cell in filled)
        or _letters(filled) <= _FEW * longest
    )


def _letters(column: Sequence[str]) -> float:
    """A line, in the mean."""
    return sum(map(len, column)) / len(column)


def _may_be_speakers(column: Sequence[str]) -> bool:
    """Not so where most lines have none, nor are numbers such as 3.5: the durations that some corpora give."""
    filled = [cell.strip() for cell in column if cell.strip()]
    return len(filled) >= _FEW * len(column) and not all(re.fullmatch(r"\d+\.\d+", cell) for cell in filled)
