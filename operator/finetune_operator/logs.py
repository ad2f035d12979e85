"""The log: one line of JSON each; one about a FineTuneJob has fields that say which."""

import contextvars
import datetime
import json
import logging

_about: contextvars.ContextVar[dict[str, object]] = contextvars.ContextVar("about")


def about(namespace: str, name: str, **fields: object) -> None:
    """Say which FineTuneJob the lines of this task are about from now on."""
    _about.set({"job": f"{namespace}/{name}", **fields})


class JsonFormatter(logging.Formatter):
    """Formats a log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback has a field of its own."""
        line = {
            "time": datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_about.get({}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)
