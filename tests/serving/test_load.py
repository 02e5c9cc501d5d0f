"""The load test itself, with a toy model: nothing is lost, and every answer has the bytes it has alone."""

import asyncio

import pytest

from benchmarks import serving

from fakes import FakeEngine, app_of
from live import listening

pytestmark = pytest.mark.io


@pytest.mark.parametrize("clients", [1, 32])
def test_nothing_is_lost_or_mixed_up(clients: int) -> None:
    with listening(app_of(FakeEngine(), linger=0.001)) as url:
        load, seconds = asyncio.run(serving.run(url, clients, 120))
        row = serving.row("toy", clients, load, seconds, serving.alone(url, load.answers))
    assert row["completed"] + row["left"] + row["malformed"] == 120
    assert (row["malformed"], row["failed"], row["other bytes than alone"]) == (12, 0, 0)
