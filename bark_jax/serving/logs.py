"""The server's log: a JSON object a line."""

import json
import logging
import time
import traceback
from typing import Any

LOGGER = logging.getLogger("bark_jax.serving")


def log(event: str, *, level: int = logging.INFO, error: BaseException | None = None, **facts: Any) -> None:
    """One line. error: with its traceback, which clients are never sent."""
    if error is not None:
        facts["error"] = "".join(traceback.format_exception(error))
    line = {"time": round(time.time(), 3), "level": logging.getLevelName(level).lower(), "event": event, **facts}
    LOGGER.log(level, json.dumps(line, ensure_ascii=False, default=str))


class LineFormatter(logging.Formatter):
    """Lines of `log` as they are, those of other libraries as such objects."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name == LOGGER.name:
            return record.getMessage()
        line = {"time": round(record.created, 3), "level": record.levelname.lower(), "event": record.getMessage()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up() -> None:
    """Everything to standard error, in that form."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    for name in (LOGGER.name, "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler] if name != "uvicorn.error" else [], name == "uvicorn.error"
        logger.setLevel(logging.INFO if name == LOGGER.name else logging.WARNING)
