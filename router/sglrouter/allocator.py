"""Keeps freed memory for the next request, where the C library is glibc.

As it starts, glibc gives the kernel back what is free above 128 KB (mallopt(3)): a body of 64 KB
and its copies then are some twenty page faults at each request.
"""

from __future__ import annotations

import ctypes

# <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: Free memory at the heap's top that is kept, and the size from which on a block is mapped by
#: itself, in bytes: larger bodies are rare, and theirs goes back at once.
KEPT, MAPPED = 8 << 20, 4 << 20


def keep_freed_memory() -> bool:
    """For the whole process; False: this C library has no such setting."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, KEPT)) and bool(mallopt(_M_MMAP_THRESHOLD, MAPPED))
