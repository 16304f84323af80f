"""Starts a data process, its keeper first.

Started by the parent alone: `python -m sglrouter.data_start CHANNEL MEMORY TAKE GIVE LISTENER…`,
all of them inherited descriptors. The keeper is a fork of this process while it is small: what is
imported later is not in it.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Sequence

from sglrouter.rescue.journal import Journal
from sglrouter.rescue.keeper import start_keeper


def main(arguments: Sequence[str]) -> None:
    """Signals are the parent's affair: a terminal's Ctrl-C reaches every process."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    channel, memory, takes, gives, *listeners = map(int, arguments)
    journal = Journal()
    adoption = socket.socket(fileno=takes), socket.socket(fileno=gives)
    keeper: int | OSError
    try:
        keeper = start_keeper(journal, channel, adoption[1], takes)
    except OSError as error:
        keeper = error
    from sglrouter.data_process import Inherited, run

    run(Inherited(channel, memory, listeners, adoption[0], journal, keeper))


if __name__ == "__main__":
    main(sys.argv[1:])
