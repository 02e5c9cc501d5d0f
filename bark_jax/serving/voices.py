"""Voices by name alone: a client can neither name a file nor learn where one is."""

from typing import Any

from bark_jax.bark import Bark
from bark_jax.frontend import Frontend, VoiceSource
from bark_jax.serving.errors import ApiError
from bark_jax.voices import library
from bark_jax.voices.errors import VoiceError
from bark_jax.voices.names import NO_VOICE, is_name, spellings
from bark_jax.voices.voice import Voice


class NamedVoices(Frontend):
    """The frontend of a model for clients that are not trusted: voices are names, also those in a text's SSML."""

    @classmethod
    def of(cls, bark: Bark) -> "NamedVoices":
        """Without `make_fine`: only the scheduler runs networks."""
        frontend = cls(bark.config, bark.tokenizer, voice_folder=bark.voice_folder)
        frontend.settings = bark.settings
        return frontend

    def find_voice(self, voice: VoiceSource) -> Voice | None:
        """A voice of this model or the library. Raises ApiError for any other."""
        if not isinstance(voice, str):
            return super().find_voice(voice)
        name = self.spelled(voice)
        try:
            return None if name == NO_VOICE else super().find_voice(name)
        except VoiceError as error:
            raise ApiError(
                400, f"the voice {name} cannot be used: {self.without_paths(error)}", param="voice"
            ) from error

    def names(self) -> list[str]:
        """Those of all voices, without a look into their files."""
        folders = filter(None, (self.voice_folder, library.library_folder()))
        return [name for folder in folders for name in library.list_voices(folder)]

    def spelled(self, voice: str) -> str:
        """A voice's name as it is spelled. Raises ApiError."""
        if voice.lower() == NO_VOICE:
            return NO_VOICE
        alike = list(dict.fromkeys(spellings(voice, self.names()))) if is_name(voice) else []
        if len(alike) != 1:
            message = f"there is no voice {voice[:100]!r}: GET /v1/audio/voices lists those there are"
            raise ApiError(400, message, param="voice", code="voice_not_found")
        return alike[0]

    def without_paths(self, message: object) -> str:
        """A message without the folders that voices are in."""
        text = str(message)
        for folder in filter(None, (self.voice_folder, library.library_folder())):
            text = text.replace(f"{folder}/", "").replace(str(folder), "the voices")
        return text


def list_voices(frontend: NamedVoices) -> list[dict[str, Any]]:
    """What `GET /v1/audio/voices` has."""
    folder = frontend.voice_folder
    default = library.default_name(folder) if folder else None
    return [
        {
            "id": entry.name, "object": "audio.voice", "name": entry.name, "source": entry.source,
            "language": entry.metadata.language, "description": entry.metadata.description,
            "default": entry.source == "model" and entry.name == default, "usable": entry.problem is None,
        }
        for entry in library.catalogue(folder, published=False)
    ]  # fmt: skip


def remove_voice(frontend: NamedVoices, name: str) -> str:
    """Delete a voice of the library; its name. Raises ApiError."""
    try:
        name = frontend.spelled(name)
    except ApiError as error:
        raise ApiError(404, error.message, param="voice", code=error.code) from error
    entries = library.catalogue(frontend.voice_folder, published=False)
    if not any(entry.name == name and entry.source == "library" for entry in entries):
        raise ApiError(403, f"{name} comes with the model: only uploaded voices can be deleted", param="voice")
    try:
        library.delete_voice(name)
    except VoiceError as error:
        raise ApiError(400, frontend.without_paths(error), param="voice") from error
    return name
