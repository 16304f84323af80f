"""A prefix cache in blocks of tokens, least recently used first out.

SGLang's radix tree shares prefixes token by token; this one shares them in blocks of
`BLOCK_TOKENS`, keyed by a chained hash, so a repeated prompt finds up to one block less.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

BLOCK_TOKENS = 8


class PrefixCache:
    """Which prompt prefixes are in the KV cache. Sizes in tokens."""

    def __init__(self, capacity_tokens: int) -> None:
        self._capacity = max(0, capacity_tokens // BLOCK_TOKENS)
        self._blocks: OrderedDict[int, None] = OrderedDict()

    @property
    def tokens(self) -> int:
        return len(self._blocks) * BLOCK_TOKENS

    def match(self, prompt: Sequence[int]) -> int:
        """Tokens of the longest cached prefix; never all of them, the last one is computed."""
        hit = 0
        for key in _keys(prompt):
            if key not in self._blocks:
                break
            self._blocks.move_to_end(key)
            hit += BLOCK_TOKENS
        return min(hit, max(0, len(prompt) - 1))

    def insert(self, tokens: Sequence[int]) -> None:
        """Remember a sequence. Its tail is evicted before its head, as leaves of a tree are."""
        keys = _keys(tokens)[: self._capacity]
        for key in reversed(keys):
            self._blocks[key] = None
            self._blocks.move_to_end(key)
        while len(self._blocks) > self._capacity:
            self._blocks.popitem(last=False)

    def clear(self) -> None:
        self._blocks.clear()


def _keys(tokens: Sequence[int]) -> list[int]:
    keys, key = [], 0
    for start in range(0, len(tokens) - BLOCK_TOKENS + 1, BLOCK_TOKENS):
        key = hash((key, tuple(tokens[start : start + BLOCK_TOKENS])))
        keys.append(key)
    return keys
