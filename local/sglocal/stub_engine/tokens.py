"""A tokenizer simple enough to explain, and the text the engine "generates".

A token is a run of at most four letters or digits with the one blank before it, or any other
single character.
Its id is the CRC-32 of its text, so that equal prefixes have equal ids.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

_PIECE = re.compile(r" ?[^\W_]{1,4}|.", re.DOTALL)
_WORDS = ("the", "a", "of", "to", "and", "in", "is", "it", "you", "that", "he", "was", "for", "on",
          "are", "as", "with", "his", "they", "be", "at", "one", "have", "this", "from", "or",
          "had", "by", "hot", "but", "some", "what", "there", "we", "can", "out", "other", "were",
          "all", "your", "when", "up", "use", "word")  # fmt: skip
#: A natural answer ends after 32 to 223 tokens, unless `ignore_eos` is set.
_SHORTEST, _SPREAD = 32, 192
#: The id SGLang tells as `matched_stop` when the model ended by itself; ours is always this one.
EOS_ID = 2


def split(text: str) -> list[str]:
    """The pieces of a text, in order; joined they are the text again."""
    return _PIECE.findall(text)


def encode(text: str) -> list[int]:
    """Token ids of a text."""
    crc = zlib.crc32
    return [crc(piece.encode("utf-8", "surrogatepass")) for piece in split(text)]


def seed_of(prompt: Sequence[int], seed: int) -> int:
    """What the answer to a prompt depends on."""
    return zlib.crc32(repr((seed, list(prompt[-64:]), len(prompt))).encode())


def natural_length(seed: int) -> int:
    """Tokens after which the answer ends by itself."""
    return _SHORTEST + seed % _SPREAD


def words(seed: int, count: int) -> list[str]:
    """`count` tokens of text, each one word with a blank before it; deterministic."""
    state, pieces = seed or 1, []
    for _ in range(count):
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        pieces.append(" " + _WORDS[(state >> 8) % len(_WORDS)])
    return pieces
