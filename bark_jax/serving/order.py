"""Whose rows come next?

1. Those of a text that is being played and would run out of audio before the batch after this one is done.
2. First pieces, in the order of arrival, so that everybody hears something soon.
3. Later pieces: whoever runs out first goes first. Where the audio has run out already, a batch more or less is heard
   as no more than a longer pause, so these do not push first pieces aside.

Where the device cannot keep up, 1 would never let anybody new begin. So first pieces that a batch has passed over come
first in the next one.

Every text gets the rows of one piece before any gets a second.
"""

from collections.abc import Sequence

from bark_jax.serving.tickets import Ticket
from bark_jax.speech.performing import Row


def urgency(ticket: Ticket, now: float, horizon: float) -> tuple[int, float]:
    """The less, the sooner. horizon: seconds until the batch after the next one will be done; 0: first pieces first."""
    until = ticket.plays_until
    if ticket.has_begun and until is not None:
        return (0 if now < until < now + horizon else 2), until
    return (2 if ticket.has_begun else 1), ticket.arrived


def next_rows(tickets: Sequence[Ticket], most: int, now: float, horizon: float) -> list[Row]:
    """At most `most` rows, in the order above; empty if nobody waits for any."""
    waiting = sorted(tickets, key=lambda ticket: urgency(ticket, now, horizon))
    firsts: list[Row] = []
    later: list[Row] = []
    for ticket in waiting:
        rows = ticket.performance.rows(most)
        for row in rows:
            (firsts if row.piece == rows[0].piece else later).append(row)
        if len(firsts) >= most:
            break
    return (firsts + later)[:most]
