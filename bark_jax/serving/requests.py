"""What clients send: OpenAI's fields of `/v1/audio/speech`, and ours beside them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bark_jax.speech.sentences import LANGUAGES

MAX_TAKES = 8  # best_of
MAX_ITEMS = 64  # of a batch
_MAX_SPEAKERS = 64
FORMAT_NAMES = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
_SETTINGS = ("semantic_temperature", "coarse_temperature", "fine_temperature", "min_eos_p", "max_seconds")
_DELIVERY = ("language", "keep_voice", "best_of")

Temperature = Annotated[float, Field(ge=0, le=1e6)]


class Strict(BaseModel):
    """No unknown fields: a misspelled one would be dropped without a word. No infinities, no type but the named one."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class VoiceId(Strict):
    """A voice, as an object."""

    id: str = Field(max_length=300)


VoiceName = Annotated[str, Field(max_length=300)]
VoiceField = VoiceName | VoiceId


class SpeechRequest(Strict):
    """A text to be spoken."""

    input: str = Field(description="The text. Pause marks, SSML and, with `voices`, labels of speakers are obeyed.")
    model: str | None = Field(
        default=None, max_length=300, description="One of /v1/models; by default the one there is."
    )
    voice: VoiceField | None = Field(default=None, description="A name of /v1/audio/voices, or none.")
    instructions: str | None = Field(default=None, description="Accepted and ignored; a header says so.")
    response_format: FORMAT_NAMES = "mp3"
    speed: float = Field(default=1.0, ge=0.25, le=4)
    stream_format: Literal["audio", "sse"] = "audio"
    seed: int | None = Field(
        default=None, ge=-1, lt=2**32, description="The same one gives the same bytes; -1: a fresh one."
    )
    language: Literal[tuple(LANGUAGES)] | None = None  # type: ignore[valid-type]
    voices: dict[VoiceName, VoiceField | None] | None = Field(
        default=None,
        max_length=_MAX_SPEAKERS,
        description="Speakers, whose lines begin with NAME: and their voices; null keeps that of their first piece.",
    )
    semantic_temperature: Temperature | None = None
    coarse_temperature: Temperature | None = None
    fine_temperature: Temperature | None = None
    min_eos_p: float | None = Field(default=None, gt=0, le=1, description="Stop once the end is this probable.")
    max_seconds: float | None = Field(default=None, gt=0, description="Of each piece of the text.")
    keep_voice: Literal["fixed", "rolling", "first"] | None = None
    best_of: int | None = Field(default=None, ge=1, le=MAX_TAKES)
    word_times: bool = Field(default=False, description="Times of words in the last event, or in a batch's answers.")
    tokens: bool = Field(default=False, description="Tokens in the last event, on one time axis; -1 in pauses.")
    wait: bool = Field(default=False, description="Answer when all is made, with the length in the headers.")

    def overrides(self) -> dict[str, Any]:
        """Fields of `Settings` and `Delivery` that were given."""
        return {name: value for name in (*_SETTINGS, *_DELIVERY) if (value := getattr(self, name)) is not None}

    def cast(self) -> dict[str, str | None]:
        """Speakers → names of voices."""
        return {speaker: voice_name(voice) for speaker, voice in (self.voices or {}).items()}


class BatchRequest(Strict):
    """Several texts, each with its own voice, seed and settings."""

    items: list[dict[str, Any]] = Field(
        min_length=1, max_length=MAX_ITEMS, description="Each as the body of /v1/audio/speech; checked one by one."
    )


def voice_name(voice: str | VoiceId | None) -> str | None:
    """The name in either form."""
    return voice.id if isinstance(voice, VoiceId) else voice
