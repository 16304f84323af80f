"""Who changed what, when, and how it ended: one JSON line per mutation in the state folder."""

from __future__ import annotations

import getpass
import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sglctl.context import Context


def log_file(context: Context) -> Path:
    return context.state_dir / "audit.jsonl"


@contextmanager
def audited(context: Context, action: str, **detail: Any) -> Iterator[dict[str, Any]]:
    """Write one line when the block ends, also when it fails or is interrupted.

    What the block adds to the yielded dict is part of the line. Never put secrets there.
    """
    started, found = time.monotonic(), dict(detail)
    outcome = "failed"
    try:
        yield found
        outcome = "done"
    except KeyboardInterrupt:
        outcome = "interrupted"
        raise
    except Exception as error:
        found["error"] = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise
    finally:
        _write(context, action, outcome, time.monotonic() - started, found)


def _write(
    context: Context, action: str, outcome: str, seconds: float, detail: dict[str, Any]
) -> None:
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": f"{_user()}@{platform.node()}",
        "environment": context.environment,
        "action": action,
        "outcome": outcome,
        "seconds": round(seconds, 1),
        **detail,
    }
    file = log_file(context)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(line, default=str) + "\n")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a passwd entry
        return str(os.getuid())
