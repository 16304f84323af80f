"""The clients' API keys: only their SHA-256 hashes are kept, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import json

from sglrouter.errors import DocumentError

MIN_KEY_LENGTH = 8


class KeyRing:
    """The keys in force. A ring that was never loaded refuses everything."""

    def __init__(self) -> None:
        self.loaded = False
        self._hashes: tuple[tuple[str, bytes], ...] = ()

    def __len__(self) -> int:
        return len(self._hashes)

    def load(self, text: str, source: str) -> None:
        """Take the keys of `{"<name>": "<key>"}`; raises DocumentError and keeps the old ones."""
        self._hashes = parse_keys(text, source)
        self.loaded = True

    def name_of(self, credential: bytes) -> str | None:
        """The name of the key, None when it is none of ours. Every key is compared."""
        digest = hashlib.sha256(credential).digest()
        found = None
        for name, known in self._hashes:
            if hmac.compare_digest(digest, known):
                found = name
        return found


def parse_keys(text: str, source: str) -> tuple[tuple[str, bytes], ...]:
    """(name, SHA-256) of each key. Messages never repeat the text."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise DocumentError(f"{source}: the API keys are not valid JSON") from error
    if not isinstance(data, dict) or not data:
        raise DocumentError(f'{source}: expected {{"<name>": "<key>"}} with one key or more')
    hashes = []
    for name, key in data.items():
        if not isinstance(key, str) or len(key) < MIN_KEY_LENGTH or not key.isascii():
            raise DocumentError(
                f"{source}: the key {name!r} must be ASCII text of {MIN_KEY_LENGTH} or more"
            )
        hashes.append((name, hashlib.sha256(key.encode()).digest()))
    return tuple(hashes)
