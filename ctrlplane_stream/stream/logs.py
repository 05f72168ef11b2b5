"""Structured logs: one JSON object a line on standard error, or plain text for people."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec

from ctrlplane_stream.settings import LogFormat, Settings

_QUIET = ("aiokafka", "faust", "mode", "asyncio", "kafka", "ctrlplane_stream.stream.framework")
"""Libraries that log every rebalance at INFO; what matters of it we log ourselves."""


class JsonFormatter(logging.Formatter):
    """``{"at", "level", "logger", "role", "text", …}``; whatever a call passes as ``extra={"fields": {…}}`` is merged in."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "role": self._role,
            "text": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def set_up_logs(settings: Settings, role: str) -> None:
    """Make the root logger write to standard error as the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.log_format is LogFormat.JSON:
        handler.setFormatter(JsonFormatter(role))
    else:
        handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {role} %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.DEBUG if settings.log_level == "DEBUG" else logging.ERROR)
