"""What is known of a voice beside its tokens, and how it is stored: as JSON in the `.npz` file."""

import dataclasses
import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from bark_jax.voices.errors import VoiceError

METADATA_FILE = "metadata.json"  # in the .npz, where readers that ask for the three arrays do not look
MAX_CHARACTERS = 2000  # of each string in the metadata: all of them stay below `reading._MAX_METADATA_BYTES`


@dataclass(frozen=True, kw_only=True)
class VoiceMetadata:
    """What is known of a voice beside its tokens. Strings become one line of printable text.

    Raises VoiceError for values of other types, strings above `MAX_CHARACTERS`, and what is no tag of a language.
    """

    language: str | None = None  # a tag: "de", "pt-BR"
    description: str | None = None
    model: str | None = None  # that made it
    seed: int | None = None  # it was made with
    text: str | None = None  # it speaks
    source: str | None = None  # "recording" if it was not generated
    recording: str | None = None  # SHA-256 of the recording

    def __post_init__(self) -> None:
        for field in ("language", "description", "model", "text", "source", "recording"):
            value = getattr(self, field)
            if value is not None:
                object.__setattr__(self, field, _one_line(field, value) or None)
        if self.language is not None and not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", self.language):
            raise VoiceError(f"the language of a voice is a tag such as de or pt-BR, not {self.language!r:.50}")
        if self.seed is not None and (type(self.seed) is not int or not 0 <= self.seed < 2**32):
            raise VoiceError(f"the seed of a voice is an integer in 0 … 2³² − 1, not {self.seed!r:.50}")

    def known(self) -> dict[str, Any]:
        """The fields that are known, as JSON would hold them."""
        return {field: value for field, value in dataclasses.asdict(self).items() if value is not None}

    def to_json(self) -> str:
        """The fields that are known."""
        return json.dumps(self.known(), ensure_ascii=False, indent=2)


def parse_metadata(data: bytes) -> VoiceMetadata:
    """Of `VoiceMetadata.to_json`; fields of later versions are left out. Raises ValueError or RecursionError."""
    values = json.loads(data)
    if not isinstance(values, dict):
        raise ValueError(f"{METADATA_FILE} is not an object")
    names = {field.name for field in dataclasses.fields(VoiceMetadata)}
    return VoiceMetadata(**{name: value for name, value in values.items() if name in names})


def _one_line(field: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_CHARACTERS:
        what = f"{len(value)} characters" if isinstance(value, str) else repr(value)[:50]
        raise VoiceError(f"the {field} of a voice is a text of at most {MAX_CHARACTERS} characters, not {what}")
    # Untrusted files are shown on terminals: no escape sequences, no halves of surrogate pairs.
    return " ".join("".join(c if unicodedata.category(c) not in ("Cc", "Cs") else " " for c in value).split())
