"""How a long text is spoken: cut, cast, joined."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from bark_jax.settings import Overrides, Settings, SettingsError, check_names
from bark_jax.speech.joining import Join
from bark_jax.speech.script import Pauses


class SpeakOverrides(Overrides, total=False):
    """Single fields of `Settings` and `Delivery`, as keywords."""

    keep_voice: Literal["fixed", "rolling", "first"]
    language: str | None
    clean: bool
    pauses: Pauses
    join: Join
    batch_size: int | None
    best_of: int


FOR_CUTTING = ("clean", "language", "pauses")  # fields that are about the text
KEEP_VOICE = ("fixed", "rolling", "first")


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How `Bark.speak` and `Bark.stream` treat a text. Raises SettingsError naming the field that is out of range.

    keep_voice, how a speaker keeps a voice from one piece to the next:

    - "fixed": every piece has the voice that was given. Without one, that of the speaker's own first piece.
    - "first": every piece after a speaker's first has the voice of that one, also where a voice was given.
    - "rolling": every piece continues the tokens of the speaker's piece before it. One piece at a time.
    """

    keep_voice: Literal["fixed", "rolling", "first"] = "fixed"
    language: str | None = None  # of the text, for abbreviations and numbers; None: see `speech.language`
    clean: bool = True  # turn Markdown, typography and emoji into what can be read out, see `speech.cleaning`
    pauses: Pauses = field(default_factory=Pauses)
    join: Join = field(default_factory=Join)
    batch_size: int | None = None  # clips made side by side, takes included; None: see `Engine.batch_size`
    best_of: int = 1  # takes of every piece, of which the best is kept (see `bark_jax.speech.ranking`)

    def __post_init__(self) -> None:
        if self.keep_voice not in KEEP_VOICE:
            raise SettingsError(f"keep_voice must be one of {', '.join(KEEP_VOICE)}, not {self.keep_voice!r}")
        for name in ("batch_size", "best_of"):
            value = getattr(self, name)
            if name == "batch_size" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise SettingsError(f"{name} must be an integer ≥ 1, not {value!r}")
        for name, kind in (("clean", bool), ("pauses", Pauses), ("join", Join)):
            if not isinstance(getattr(self, name), kind):
                raise SettingsError(f"{name} must be a {kind.__name__}, not {type(getattr(self, name)).__name__}")

    @classmethod
    def split(cls, overrides: Mapping[str, Any]) -> tuple[Self, dict[str, Any]]:
        """The delivery that keywords ask for, and those for `Settings`. Raises SettingsError for all others."""
        names = {f.name for f in dataclasses.fields(cls)}
        check_names(overrides, [*(f.name for f in dataclasses.fields(Settings)), *sorted(names)])
        own = {name: value for name, value in overrides.items() if name in names}
        return cls(**own), {name: value for name, value in overrides.items() if name not in names}
