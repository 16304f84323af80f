"""Which router owns a conversation: rendezvous hashing, computed alike on every host. Pure.

Every id is scored for the conversation and the highest score owns it, so that an id which joins
takes only what it wins and one which leaves gives away only what it had
(Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998).
"""

from __future__ import annotations

from collections.abc import Sequence

import xxhash

_MASK = (1 << 64) - 1


def owner(key: int, ids: Sequence[str]) -> str:
    """The id that owns conversation `key` (64 bits). ValueError: there is no id.

    The order of `ids` does not matter. About 1 µs for four ids.
    """
    seed = key & _MASK
    return max(ids, key=lambda name: (xxhash.xxh3_64_intdigest(name.encode(), seed), name))
