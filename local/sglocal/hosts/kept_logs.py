"""Consoles of the last hosts that ended: why one failed is asked after it is gone.

EC2 keeps an instance's console output for a while after its end, too:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-console.html
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

LOGGER = logging.getLogger("sglocal.hosts")
KEPT = 20


def kept_log(state_dir: Path, instance_id: str) -> Path:
    """Where the console of an ended host lies, if it is still kept."""
    return state_dir / "logs" / f"{instance_id}.log"


def keep_log(state_dir: Path, instance_id: str, console: Path) -> None:
    """Move an ended host's console there; only the newest `KEPT` stay.

    A disk that refuses it is no reason to keep the host.
    """
    if not console.is_file():
        return
    target = kept_log(state_dir, instance_id)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(console, target)
        target.touch()  # the newest, however long ago the host printed its last line
        for old in ended_hosts(state_dir)[KEPT:]:
            kept_log(state_dir, old).unlink(missing_ok=True)
    except OSError as error:
        LOGGER.warning("the console of %s is lost: %s", instance_id, error)


def ended_hosts(state_dir: Path) -> list[str]:
    """Instance ids whose console is kept, the last to end first."""
    found: list[tuple[int, str]] = []
    for path in (state_dir / "logs").glob("*.log"):
        try:
            found.append((path.stat().st_mtime_ns, path.stem))
        except FileNotFoundError:  # another host's end made it one too many
            continue
    return [name for _, name in sorted(found, reverse=True)]
