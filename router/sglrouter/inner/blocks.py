"""The blocks of a prompt, and the chain of hashes over them. Pure.

`_hash.c` has the same chain; this one is used where it was not built.
"""

from __future__ import annotations

from typing import Final

from xxhash import xxh3_64_intdigest

# Blocks grow with depth: 4 of them for 2 KB, 50 for 64 KB, 210 for 64 MB.
_PER_SIZE: Final = 16
_FIRST_SIZE, _LAST_SIZE = 512, 4 << 20


def _block_ends() -> tuple[int, ...]:
    ends, size, at = [], _FIRST_SIZE, 0
    while size <= _LAST_SIZE:
        for _ in range(_PER_SIZE):
            at += size
            ends.append(at)
        size *= 2
    return tuple(ends)


#: Of a prompt's blocks, 64 bits each: packed in the machine's order, as C gives them, or numbers.
Hashes = bytes | list[int]

#: Where the n-th block ends, in bytes from the prompt's start.
BLOCK_ENDS: Final = _block_ends()
_BLOCKS: Final = tuple(zip((0, *BLOCK_ENDS), BLOCK_ENDS, strict=False))


def hash_blocks(data: bytes, start: int, size: int, seed: int) -> list[int]:
    """The hash of each full block in data[start:start + size] and of all before it, of 64 bits."""
    if start < 0 or start + max(size, 0) > len(data):
        raise ValueError("the prompt is not inside the data")
    blocks: list[int] = []
    digest, add = xxh3_64_intdigest, blocks.append
    for begin, end in _BLOCKS:
        if end > size:
            break
        seed = digest(data[start + begin : start + end], seed)
        add(seed)
    return blocks
