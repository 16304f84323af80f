"""A text that matches a regular expression, for the part of the language people constrain with.

Understood: literals, `.`, escapes (`\\d \\w \\s` and quoted characters), classes with ranges and
`^`, groups `(…)` and `(?:…)`, alternation, `* + ? {n} {n,} {n,m}`, and `^ $` at the ends.
Anything else (look-around, back-references, named groups, `\\b`) is refused.
"""

from __future__ import annotations

import random
import re
import string

_CLASSES = {
    "d": string.digits,
    "w": string.ascii_letters + string.digits + "_",
    "s": " ",
}
_CONTROL = {"n": "\n", "t": "\t", "r": "\r"}
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
_OPEN_ENDED = 3  # `*` and `+` give at most so many more than they must
_LONGEST = 4096


class UnsupportedError(ValueError):
    """The constraint is outside what the stub can satisfy; the message says where."""


def matching_text(pattern: str, seed: int) -> str:
    """A text that `re.fullmatch(pattern, …)` accepts; raises UnsupportedError."""
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError) as error:
        raise UnsupportedError(f"Failed to compile regex grammar: {error}") from error
    trimmed = pattern.removeprefix("^")
    if trimmed.endswith("$") and not trimmed.endswith("\\$"):
        trimmed = trimmed[:-1]
    text = _Writer(trimmed, random.Random(seed)).write()  # noqa: S311 - text, not secrets
    if not compiled.fullmatch(text):
        raise UnsupportedError(f"the stub engine cannot satisfy the regex {pattern!r}")
    return text


class _Writer:
    """Recursive descent: reads the pattern and writes a match as it goes."""

    def __init__(self, pattern: str, rng: random.Random) -> None:
        self._pattern = pattern
        self._rng = rng
        self._at = 0

    def write(self) -> str:
        text = self._alternatives()
        if self._at != len(self._pattern):
            raise self._unsupported()
        return text

    def _unsupported(self) -> UnsupportedError:
        return UnsupportedError(
            f"the stub engine does not understand the regex at position {self._at}:"
            f" {self._pattern[self._at : self._at + 8]!r}"
        )

    def _peek(self) -> str:
        return self._pattern[self._at] if self._at < len(self._pattern) else ""

    def _take(self) -> str:
        char = self._peek()
        if not char:
            raise self._unsupported()
        self._at += 1
        return char

    def _alternatives(self) -> str:
        choices = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            choices.append(self._sequence())
        return self._rng.choice(choices)

    def _sequence(self) -> str:
        parts = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated())
            if sum(map(len, parts)) > _LONGEST:
                raise UnsupportedError(f"the regex asks for more than {_LONGEST} characters")
        return "".join(parts)

    def _repeated(self) -> str:
        start = self._at
        text = self._atom()
        low, high = self._quantifier()
        count = self._rng.randint(low, high)
        if count * max(1, len(text)) > _LONGEST:
            raise UnsupportedError(f"the regex asks for more than {_LONGEST} characters")
        after, parts = self._at, [text] if count else []
        for _ in range(count - 1):  # read the atom again: each repeat chooses anew
            self._at = start
            parts.append(self._atom())
        self._at = after
        return "".join(parts)

    def _quantifier(self) -> tuple[int, int]:
        char = self._peek()
        simple = {"*": (0, _OPEN_ENDED), "+": (1, 1 + _OPEN_ENDED), "?": (0, 1)}
        if char in simple and char:
            self._at += 1
            low, high = simple[char]
        elif found := re.compile(r"\{(\d+)(,?)(\d*)\}").match(self._pattern, self._at):
            self._at = found.end()
            low = int(found[1])
            high = int(found[3]) if found[3] else low + (_OPEN_ENDED if found[2] else 0)
        else:
            return 1, 1
        if self._peek() == "?":  # lazy: matches the same texts
            self._at += 1
        return low, high

    def _atom(self) -> str:
        char = self._take()
        if char == "(":
            return self._group()
        if char == "[":
            return self._rng.choice(self._char_class())
        if char == ".":
            return self._rng.choice(string.ascii_lowercase)
        if char == "\\":
            return self._rng.choice(self._escape())
        if char in "^$*+?{":
            self._at -= 1
            raise self._unsupported()
        return char

    def _group(self) -> str:
        if self._pattern.startswith("?:", self._at):
            self._at += 2
        elif self._peek() == "?":
            raise self._unsupported()
        text = self._alternatives()
        if self._take() != ")":
            raise self._unsupported()
        return text

    def _escape(self) -> str:
        char = self._take()
        if char in _CLASSES:
            return _CLASSES[char]
        if char in _CONTROL:
            return _CONTROL[char]
        if char.isalnum():
            self._at -= 2
            raise self._unsupported()
        return char

    def _char_class(self) -> str:
        negated = self._peek() == "^"
        self._at += negated
        chars = ""
        while True:
            char = self._take()
            if char == "]" and chars:
                break
            members = self._escape() if char == "\\" else char
            if self._peek() == "-" and self._pattern[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                end = self._take()
                end = self._escape() if end == "\\" else end
                members = "".join(map(chr, range(ord(members[0]), ord(end[0]) + 1)))
            chars += members
        if negated:
            chars = "".join(c for c in _PRINTABLE if c not in chars)
        if not chars:
            raise self._unsupported()
        return chars
