"""The names of voices: those that are published, which are possible, and when two are the same."""

import re
import unicodedata
from collections.abc import Iterable

from bark_jax.voices.errors import VoiceError

_LANGUAGES = ("de", "en", "es", "fr", "hi", "it", "ja", "ko", "pl", "pt", "ru", "tr", "zh")
_SPEAKERS = tuple(f"speaker_{i}" for i in range(10))

VOICE_NAMES = (
    "announcer", *_SPEAKERS,
    *(f"{folder}{language}_{speaker}" for folder in ("", "v2/") for language in _LANGUAGES for speaker in _SPEAKERS),
)  # fmt: skip
"""The voices that Suno published. A checkpoint brings all, some or none of them."""

NO_VOICE = "none"  # instead of a name: no voice, not even the model's default one

DEFAULT_FILE = "default.txt"  # in a model's folder of voices: the name of the one it speaks with by default

_MAX_NAME = 200  # bytes: file systems take 255, of which .npz and a temporary name need some
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(1, 10))}  # Windows'


def is_name(name: str) -> bool:
    """Whether every system can keep a visible file of that name, in folders of that name, as it is."""
    fits = name.isprintable() and len(name.encode(errors="replace")) <= _MAX_NAME and name.lower() != NO_VOICE
    return fits and all(_is_file_name(part) for part in name.split("/"))


def check_name(name: str) -> None:
    """Raise VoiceError unless it can be the name of a voice."""
    if not is_name(name):
        reason = "it stands for no voice" if name.lower() == NO_VOICE else "not every system can have such a file"
        raise VoiceError(
            f"{name!r:.100} is not a name for a voice, as {reason}: take a name like anna or mine/anna, or a path that "
            "ends in .npz"
        )


def _is_file_name(part: str) -> bool:
    if not part or part.strip(" .") != part or part.startswith("~") or set(part) & set('<>:"\\|?*'):
        return False
    return part.partition(".")[0].lower() not in _DEVICES


def fold(name: str) -> str:
    """The same for all spellings of a name: letter case, separators, composed accents, `.npz` at the end."""
    return unicodedata.normalize("NFC", name.replace("\\", "/")).casefold().removesuffix(".npz")


def spellings(name: str, names: Iterable[str]) -> list[str]:
    """Those of the names that differ from `name` in spelling only; `name` alone if it is one of them."""
    alike = [known for known in names if fold(known) == fold(name)]
    return [name] if name in alike else alike


def named_language(name: str) -> str | None:
    """The language in a published name: v2/en_speaker_6 speaks en."""
    found = re.search(r"([a-z]{2})_speaker_", name) if name in VOICE_NAMES else None
    return found and found[1]
