"""One text on its way through the server: what the scheduler knows of it, and what its client is sent."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from bark_jax.audio import Waveform
from bark_jax.speech.performing import Performance


class Finished(NamedTuple):
    """All audio has been sent."""

    pieces: int
    empty: int  # pieces for which the model made nothing


class Left(NamedTuple):
    """The client has gone."""


Event: TypeAlias = "Waveform | Finished | Left | Exception"


class Inbox:
    """Events for a client, put by any thread and taken in the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Event] = asyncio.Queue()

    def put(self, event: Event) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
            self._loop.call_soon_threadsafe(self._queue.put_nowait, event)

    async def take(self) -> Event:
        return await self._queue.get()


@dataclass(eq=False, kw_only=True)
class Ticket:
    """A text that was accepted. Only the scheduler's thread advances it."""

    id: str
    performance: Performance
    inbox: Inbox
    sample_rate: int
    speed: float = 1.0
    arrived: float = field(default_factory=time.monotonic)
    first_audio: float | None = None  # when its first samples were made
    plays_until: float | None = None  # when a client who plays at once runs out of audio
    sent: float = 0.0  # seconds of audio made
    taken: float = 0.0  # seconds of audio that the client has taken
    underruns: int = 0
    done: bool = False

    @property
    def has_begun(self) -> bool:
        """Whether its first piece has been made."""
        return bool(self.performance.pieces)

    @property
    def seconds(self) -> float:
        """Of audio, as it is played."""
        return self.sent / self.speed

    def deliver(self, samples: Waveform) -> None:
        """Samples have been made: send them, and note when they will have been played."""
        if not len(samples):
            return
        now, seconds = time.monotonic(), len(samples) / self.sample_rate / self.speed
        if self.plays_until is None:
            self.first_audio, self.plays_until = now, now
        elif now > self.plays_until:
            self.underruns += 1
            self.plays_until = now
        self.plays_until += seconds
        self.sent += seconds * self.speed
        self.inbox.put(samples)
