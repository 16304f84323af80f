"""A fork whose child shares the parent's table of descriptors.

What one opens or closes, the other has or has no longer; and the table outlives either of them.
https://man7.org/linux/man-pages/man2/clone.2.html (CLONE_FILES)
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal

_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE_FILES = 0x400
_PR_SET_NAME = 15


def fork_sharing_descriptors() -> int:
    """As os.fork, which cannot share them. For a process with one thread. Raises OSError."""
    number = _CLONE.get(platform.machine())
    if number is None:
        raise OSError(f"clone(2) is not known on {platform.machine()}")
    python, system = ctypes.pythonapi, ctypes.PyDLL(None, use_errno=True)  # both keep the GIL
    system.syscall.restype = ctypes.c_long
    python.PyOS_BeforeFork()
    pid = int(system.syscall(number, ctypes.c_ulong(_CLONE_FILES | signal.SIGCHLD), 0, 0, 0, 0))
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return 0
    error = ctypes.get_errno()
    python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(error, os.strerror(error))
    return pid


def name_process(name: str) -> None:
    """What ps and top call it; 15 bytes at most."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
