"""What `/metrics` counts, in a registry of the server's own."""

import time

import jax
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from bark_jax.serving.tickets import Ticket

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_FACTORS = (0.05, 0.1, 0.2, 0.5, 0.75, 1, 1.5, 2, 4, 8, 16)
_COMPILED = "/jax/core/compile/backend_compile_duration"


class Metrics:
    """Counters, gauges and histograms of one server."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter(
            "bark_requests", "Requests by endpoint and outcome", ["path", "outcome"], registry=registry
        )
        self.queue = Gauge("bark_queue_length", "Texts accepted and not finished", registry=registry)
        self.running = Gauge("bark_running_pieces", "Rows of the batch at work", registry=registry)
        self.batch_rows = Histogram(
            "bark_batch_size", "Rows of a batch", buckets=(1, 2, 4, 8, 16, 32), registry=registry
        )
        self.first_audio = Histogram(
            "bark_first_audio_seconds",
            "From a text's arrival to its first samples",
            buckets=_SECONDS,
            registry=registry,
        )
        self.factor = Histogram(
            "bark_real_time_factor", "Seconds from arrival to end for each second of audio", buckets=_FACTORS,
            registry=registry,
        )  # fmt: skip
        self.underruns = Counter("bark_underruns", "Pieces that came after the audio ran out", registry=registry)
        self.audio = Counter("bark_audio_seconds", "Seconds of audio made", registry=registry)
        self.compilations = Counter("bark_compilations", "Programs compiled or read from the cache", registry=registry)

    def count_audio(self, ticket: Ticket) -> None:
        """A text is finished."""
        self.audio.inc(ticket.sent)
        if ticket.seconds and ticket.plays_until is not None:
            self.factor.observe((time.monotonic() - ticket.arrived) / ticket.seconds)

    def listen(self, event: str, duration_secs: float, **_: str | int) -> None:
        """For JAX's monitoring."""
        if event == _COMPILED:
            self.compilations.inc()

    def open(self) -> None:
        jax.monitoring.register_event_duration_secs_listener(self.listen)

    def close(self) -> None:
        jax.monitoring.unregister_event_duration_listener(self.listen)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)
