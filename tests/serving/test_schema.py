"""Requests drawn from the OpenAPI schema, good and bad: no 500, no hang."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from fakes import FakeEngine, app_of
from live import listening

schemathesis = pytest.importorskip("schemathesis", reason="the schema is tried where schemathesis is installed")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening(app_of(FakeEngine(), linger=0.0)) as address:
        yield address


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
def test_no_request_breaks_the_server(url: str, mode: str) -> None:
    """Of every operation, as the schema allows it and as it does not."""
    tried = 0
    for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
        strategy = found.ok().as_strategy(generation_mode=schemathesis.GenerationMode[mode])

        @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=strategy)
        def call(case: Any) -> None:
            answer = case.call(timeout=20)
            assert answer.status_code < 500, answer.text
            if answer.status_code >= 400:
                assert set(answer.json()["error"]) == {"message", "type", "param", "code"}

        try:
            call()
        except Exception as error:
            if type(error).__name__ not in ("Unsatisfiable", "SkipTest"):  # nothing of the kind can be drawn
                raise
        else:
            tried += 1
    assert tried
