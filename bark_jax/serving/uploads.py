"""Voices that clients upload: files of tokens, and recordings. What they hold is not trusted."""

import contextlib
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from bark_jax.errors import BarkError
from bark_jax.hearing.cloning import CONSENT, Heard, listen
from bark_jax.serving.collecting import collecting
from bark_jax.serving.errors import ApiError
from bark_jax.serving.service import Service
from bark_jax.serving.voices import NamedVoices
from bark_jax.voices import library
from bark_jax.voices.names import is_name, spellings
from bark_jax.voices.voice import Voice

MAX_VOICES = 1000  # in the library
_ARCHIVE = b"PK"  # the beginning of an .npz


async def add_voice(service: Service, name: str, data: bytes, *, consent: bool) -> list[str]:
    """Keep an `.npz` of tokens, or a recording, as a voice of the library; what had to be changed, and advice.

    consent: that of the person who is heard in a recording. Raises ApiError.
    """
    frontend = service.frontend
    await run_in_threadpool(_check_name, frontend, name)
    if data.startswith(_ARCHIVE):
        return await run_in_threadpool(_keep_tokens, frontend, name, data)
    if not consent:
        raise ApiError(400, f"a recording needs consent=true. {CONSENT}", param="consent")
    heard = await run_in_threadpool(_listen, frontend, data)
    with _refusing(frontend):
        voice = await service.beside(partial(service.bark.voice_of, heard))
        await run_in_threadpool(library.save_voice, voice, name)
    return [heard.describe(), *heard.advice]


def _check_name(frontend: NamedVoices, name: str) -> None:
    if not is_name(name):
        raise ApiError(400, "a voice's name has letters, digits, - and _, with / between folders", param="name")
    known = frontend.names()
    if spellings(name, known):
        raise ApiError(409, f"there is a voice {name} already: delete it, or take another name", param="name")
    if len(known) >= MAX_VOICES:
        raise ApiError(400, f"there are {MAX_VOICES} voices already: delete some", param="name")


def _keep_tokens(frontend: NamedVoices, name: str, data: bytes) -> list[str]:
    with _file(frontend, data, ".npz") as file, collecting() as warned:
        library.save_voice(Voice.load(file, frontend.config), name)
    return [message.replace(str(file), "file") for message in warned]


def _listen(frontend: NamedVoices, data: bytes) -> Heard:
    with _file(frontend, data, "") as file:
        return listen(file, frontend.config.codec.sample_rate)


@contextlib.contextmanager
def _file(frontend: NamedVoices, data: bytes, suffix: str) -> Iterator[Path]:
    """What was uploaded, as a file."""
    with tempfile.TemporaryDirectory() as folder, _refusing(frontend, folder):
        file = Path(folder) / f"file{suffix}"
        file.write_bytes(data)
        yield file


@contextlib.contextmanager
def _refusing(frontend: NamedVoices, folder: str = "") -> Iterator[None]:
    """Turn errors into ApiError, without paths."""
    try:
        yield
    except BarkError as error:
        message = " ".join([str(error), *getattr(error, "__notes__", ())])
        raise ApiError(400, frontend.without_paths(message.replace(f"{folder}/", "")), param="file") from error
