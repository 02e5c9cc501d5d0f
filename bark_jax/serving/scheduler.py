"""The one thread that runs the networks: it takes rows of all texts, batch by batch, and sends their audio."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal

from bark_jax.engine import Engine
from bark_jax.serving.config import ServerConfig
from bark_jax.serving.errors import ApiError
from bark_jax.serving.logs import log
from bark_jax.serving.metrics import Metrics
from bark_jax.serving.order import next_rows
from bark_jax.serving.tickets import Finished, Ticket
from bark_jax.speech.performing import Row, speak_rows

State = Literal["warming", "ready", "closing", "dead"]
_FAILURES = 5  # batches in a row that fail before the worker gives up
_MEMORY = 0.3  # weight of the newest batch in the expected length of one
_PATIENCE = 60  # seconds that the end of the batch at work is waited for


class Scheduler:
    """Accepts tickets from the event loop and works on them in a thread of its own."""

    def __init__(
        self, engine: Engine, config: ServerConfig, metrics: Metrics, prepare: Callable[[], Sequence[int]],
        on_death: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """prepare: compiles, and gives the batch sizes; on_death: called if the worker cannot go on."""
        self.state: State = "warming"
        self.sizes: Sequence[int] = ()
        self._engine, self._config, self._metrics = engine, config, metrics
        self._prepare, self._on_death = prepare, on_death
        self._tickets: list[Ticket] = []
        self._changed = threading.Condition()
        self._expected = 0.1  # seconds of a batch
        self._failures = 0
        self._left_out = False  # whether the rows just chosen pass over first pieces for later ones
        self._passed_over = False  # whether those of the last batch did
        self._thread = threading.Thread(target=self._run, name="bark_jax scheduler", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Abandon what is still there, and wait for the thread."""
        with self._changed:
            if self.state != "dead":
                self.state = "closing"
            for ticket in self._tickets:
                ticket.performance.abandoned = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(_PATIENCE)

    def submit(self, tickets: Sequence[Ticket]) -> None:
        """Accept texts, all or none. Raises ApiError."""
        with self._changed:
            if self.state in ("dead", "closing"):
                raise ApiError(503, "the server is stopping: try another one", headers={"Retry-After": "10"})
            if len(self._tickets) + len(tickets) > self._config.queue_limit:
                raise self._full(len(tickets))
            self._tickets += tickets
            self._measure()
            self._changed.notify_all()

    def _full(self, count: int) -> ApiError:
        if count > self._config.queue_limit:
            return ApiError(400, f"this server takes {self._config.queue_limit} texts at once, not {count}")
        wait = max(1, round(self._expected * len(self._tickets) / max(self.sizes, default=1)))
        message = f"{len(self._tickets)} texts are being spoken or wait: try again in about {wait} s"
        return ApiError(429, message, code="queue_full", headers={"Retry-After": str(wait)})

    def cancel(self, ticket: Ticket) -> None:
        """Nobody listens any more: what waits is dropped now, what runs at the end of its stage."""
        with self._changed:
            ticket.performance.abandoned = True
            self._drop(ticket)

    def taken(self, ticket: Ticket, seconds: float) -> None:
        """A client has taken this much of its audio."""
        with self._changed:
            ticket.taken += seconds
            self._changed.notify_all()

    def _drop(self, ticket: Ticket) -> None:
        ticket.done = True
        with contextlib.suppress(ValueError):
            self._tickets.remove(ticket)
        self._measure()

    def _measure(self) -> None:
        self._metrics.queue.set(len(self._tickets))

    def _run(self) -> None:
        try:
            self.sizes = self._prepare()
            with self._changed:
                self.state = "ready" if self.state == "warming" else self.state
            log("ready", batch_sizes=list(self.sizes))
            while rows := self._wait():
                self._work(rows)
        except BaseException as error:
            self._die(error)

    def _die(self, error: BaseException) -> None:
        log("the worker cannot go on", level=logging.CRITICAL, error=error)
        with self._changed:
            self.state = "dead"
            for ticket in list(self._tickets):
                self._fail(ticket)
        self._on_death()

    def _wait(self) -> list[Row]:
        """The next rows, as soon as there are any; none when the server stops."""
        with self._changed:
            idle = False
            while self.state != "closing":
                if rows := self._choose():
                    if not idle or len(rows) == self.sizes[-1] or self._config.linger <= 0:
                        return rows
                    self._changed.wait(self._config.linger)  # for company
                    if rows := self._choose():
                        return rows
                idle = True
                self._changed.wait()
            return []

    def _choose(self) -> list[Row]:
        ahead = self._config.ahead
        waiting = [t for t in self._tickets if not t.performance.finished and t.sent - t.taken < ahead]
        horizon = 0.0 if self._passed_over else 2 * self._expected
        rows = next_rows(waiting, self.sizes[-1], time.monotonic(), horizon)
        chosen = {row.performance for row in rows}
        self._left_out = any(own.pieces for own in chosen) and any(
            not ticket.has_begun and ticket.performance not in chosen for ticket in waiting
        )
        return rows

    def _work(self, rows: Sequence[Row]) -> None:
        """One batch, and what follows from it for each of its texts."""
        owners = {row.performance: None for row in rows}
        tickets = [ticket for ticket in list(self._tickets) if ticket.performance in owners]
        started, self._passed_over = time.monotonic(), self._left_out
        self._metrics.running.set(len(rows))
        self._metrics.batch_rows.observe(len(rows))
        try:
            made = speak_rows(self._engine, rows, self.sizes)
            self._failures = 0
        except Exception as error:
            self._crashed(tickets, error)
            return
        finally:
            self._metrics.running.set(0)
        for row, tokens in made:
            row.performance.take(row, tokens)
        for ticket in tickets:
            self._send(ticket)
        self._expected += _MEMORY * (time.monotonic() - started - self._expected)

    def _send(self, ticket: Ticket) -> None:
        """The audio of pieces that are complete by now."""
        if ticket.performance.abandoned:
            return
        try:
            for part in ticket.performance.parts():
                first, underruns = ticket.first_audio, ticket.underruns
                ticket.deliver(part.samples)
                if first is None and ticket.first_audio is not None:
                    self._metrics.first_audio.observe(ticket.first_audio - ticket.arrived)
                self._metrics.underruns.inc(ticket.underruns - underruns)
        except Exception as error:
            self._crashed([ticket], error)
            return
        if ticket.performance.finished and not ticket.done:
            pieces = ticket.performance.pieces
            ticket.inbox.put(Finished(len(pieces), sum(not len(said.tokens.semantic) for said in pieces)))
            self._metrics.count_audio(ticket)
            with self._changed:
                self._drop(ticket)

    def _crashed(self, tickets: Sequence[Ticket], error: Exception) -> None:
        """These texts fail; the others do not notice, unless the model never recovers."""
        log("a batch failed", level=logging.ERROR, requests=[ticket.id for ticket in tickets], error=error)
        self._failures += 1
        with self._changed:
            for ticket in tickets:
                self._fail(ticket)
        if self._failures >= _FAILURES:
            raise RuntimeError(f"{_FAILURES} batches failed one after the other") from error

    def _fail(self, ticket: Ticket) -> None:
        ticket.performance.abandoned = True
        ticket.inbox.put(ApiError(500, f"the model failed; the server's log has more under the request id {ticket.id}"))
        self._drop(ticket)
