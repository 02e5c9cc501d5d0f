"""Errors of the API, in the shape that OpenAI's clients read."""

from collections.abc import Sequence
from typing import Any

_SHOWN, _LONGEST = 10, 2000  # problems of a request in one message, and its characters
_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """An answer that is no success. The message says what is wrong and what to do, without paths or source."""

    def __init__(
        self, status: int, message: str, param: str | None = None, *, code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """`{"error": …}`, as OpenAI has it."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def describe_invalid(errors: Sequence[Any]) -> tuple[str, str | None]:
    """What pydantic found wrong: a message about all of it, and the name of the first field. No values are quoted."""
    problems = []
    for error in errors:
        path = ".".join(str(part) for part in error["loc"] if part != "body")
        what = "there is no such field" if error["type"] == "extra_forbidden" else error["msg"]
        problems.append(f"{path[:100]}: {what}" if path else str(what))
    first = next((str(error["loc"][-1])[:100] for error in errors if error["loc"]), None)
    return "; ".join(problems[:_SHOWN])[:_LONGEST], first
