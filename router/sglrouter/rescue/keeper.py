"""The keeper of a data process: sleeps until that ends, then gives its clients to another.

It shares the process's descriptors (`fork`), so that a kill closes none of them, and costs nothing
while the process lives. Whatever it does not give away is closed by its own end.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import sys
import time
import traceback
from dataclasses import replace

from sglrouter.rescue.counted import bytes_written
from sglrouter.rescue.fork import fork_sharing_descriptors, name_process
from sglrouter.rescue.journal import Journal, Kept

#: taken, offset, length: see `journal.Kept`. With it go the connection, and the source of bytes.
MESSAGE = struct.Struct("<QQQ")
_GIVE_S, _LOOK_MS = 5.0, 60_000


def start_keeper(journal: Journal, channel: int, adoption: socket.socket, reader: int) -> int:
    """Start the calling process's keeper; returns its process id. Raises OSError.

    `adoption`: where connections are given away, `reader` the other end of it; `channel` tells
    the parent of the process's end, by being closed.
    """
    process = os.getpid()
    pid = fork_sharing_descriptors()
    if pid:
        return pid
    try:
        name_process("sglrouter-keep")
        _sleep_until_end(process)
        for descriptor in (channel, reader):
            with contextlib.suppress(OSError):  # an orderly end has closed it
                os.close(descriptor)
        _give_away(journal, adoption)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _sleep_until_end(process: int) -> None:
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return
    end = select.poll()
    end.register(descriptor, select.POLLIN)
    while os.getppid() == process and not end.poll(_LOOK_MS):
        pass


def _give_away(journal: Journal, adoption: socket.socket) -> None:
    deadline = time.monotonic() + _GIVE_S
    for kept in journal.kept():
        adoption.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            if (now := _as_of_now(kept)) is not None:
                _give(now, adoption)
        except (TimeoutError, ConnectionError) as error:  # nobody is left to take it
            sys.stderr.write(f"sglrouter: clients of a dead process are lost: {error}\n")
            return
        except OSError as error:  # this one cannot be given away
            sys.stderr.write(f"sglrouter: a client of a dead process is lost: {error}\n")


def _as_of_now(kept: Kept) -> Kept | None:
    """What is owed to a client whose answer was being written; None: part of it. Raises OSError."""
    if kept.answer is None:
        return kept
    connection = socket.socket(fileno=kept.descriptor)
    try:
        written = bytes_written(connection)
    finally:
        connection.detach()
    before, whole = kept.answer
    if written == before:
        return kept
    return replace(kept, length=0) if written == whole else None


def _give(kept: Kept, adoption: socket.socket) -> None:
    message = MESSAGE.pack(kept.taken, kept.offset, kept.length)
    descriptors = [kept.descriptor, kept.source] if kept.length else [kept.descriptor]
    socket.send_fds(adoption, [message], descriptors)
    with contextlib.suppress(OSError):
        os.close(kept.descriptor)
