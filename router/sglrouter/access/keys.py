"""The clients' API keys: only SHA-256 hashes are kept. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from sglrouter.errors import DocumentError
from sglrouter.models import KeyEntry, Priority, problems

MIN_KEY_LENGTH = 8


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """Whose key it is, and the bounds of its holder (None: unbounded); `bounded`: has any."""

    name: str
    requests_per_second: float | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    priority: Priority = "normal"
    bounded: bool = field(init=False)

    def __post_init__(self) -> None:
        bounds = (self.requests_per_second, self.tokens_per_minute, self.concurrency)
        object.__setattr__(self, "bounded", any(bound is not None for bound in bounds))


#: Who asks where no keys are wanted.
ANYONE = KeyInfo("")


class KeyRing:
    """The keys in force. A ring that was never loaded refuses everything.

    `version` grows when they change: what was remembered about a credential is then void.
    """

    def __init__(self) -> None:
        self.loaded = False
        self.version = 0
        self._by_digest: dict[bytes, KeyInfo] = {}

    def __len__(self) -> int:
        return len(self._by_digest)

    def load(self, text: str, source: str) -> None:
        """Take the keys of `{"<name>": "<key>" or KeyEntry}`.

        Raises DocumentError, which never repeats the text, and keeps the old ones.
        """
        found = parse_keys(text, source)
        if found != self._by_digest:
            self._by_digest = found
            self.version += 1
        self.loaded = True

    def dump(self) -> str:
        """What `load` takes, with hashes only: for this host's other processes."""
        return json.dumps(
            {
                info.name: {
                    "sha256": digest.hex(),
                    "requests_per_second": info.requests_per_second,
                    "tokens_per_minute": info.tokens_per_minute,
                    "concurrency": info.concurrency,
                    "priority": info.priority,
                }
                for digest, info in self._by_digest.items()
            }
        )

    def find(self, credential: bytes) -> KeyInfo | None:
        """Whose key it is, None when it is none of ours.

        Takes as long for a key that is nearly right as for one that is not: what is looked up is
        the SHA-256 of the guess, which a guesser cannot steer towards the digest of a key, and
        how many keys there are does not matter.
        """
        digest = hashlib.sha256(credential).digest()
        return self._by_digest.get(digest)

    def names(self) -> set[str]:
        return {info.name for info in self._by_digest.values()}


def same_key(credential: bytes, digest: bytes) -> bool:
    """Whether `credential` has this SHA-256, in constant time."""
    return hmac.compare_digest(hashlib.sha256(credential).digest(), digest)


def digest_of(key: str) -> bytes:
    """SHA-256 of a key. Raises ValueError with the reason when it cannot be one."""
    if len(key) < MIN_KEY_LENGTH or not all("\x21" <= letter <= "\x7e" for letter in key):
        raise ValueError(
            f"must be visible ASCII without spaces, {MIN_KEY_LENGTH} characters or more"
        )
    return hashlib.sha256(key.encode()).digest()


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise DocumentError(f"{name!r} is there twice")
    return dict(pairs)


def _entry(name: str, value: object) -> tuple[bytes, KeyInfo]:
    if not isinstance(value, dict):
        if not isinstance(value, str):
            raise ValueError("must be a key, or its hash with bounds")
        return digest_of(value), KeyInfo(name)
    entry = KeyEntry.model_validate(value)
    bounds = entry.model_dump(exclude={"sha256"})
    return bytes.fromhex(entry.sha256), KeyInfo(name, **bounds)


def parse_keys(text: str, source: str) -> dict[bytes, KeyInfo]:
    """SHA-256 → whose key. Raises DocumentError; its message holds names, never keys."""
    try:
        data = json.loads(text, object_pairs_hook=_no_name_twice)
    except ValueError as error:
        raise DocumentError(f"{source}: the API keys are not valid JSON") from error
    except DocumentError as error:
        raise DocumentError(f"{source}: the API keys: {error}") from error
    if not isinstance(data, dict) or not data:
        raise DocumentError(f'{source}: expected {{"<name>": "<key>"}} with one key or more')
    found: dict[bytes, KeyInfo] = {}
    for name, value in data.items():
        try:
            digest, info = _entry(name, value)
        except ValidationError as error:  # a ValueError, whose own text repeats the input
            raise DocumentError(f"{source}: the key {name!r}: {problems(error)}") from error
        except ValueError as error:
            raise DocumentError(f"{source}: the key {name!r} {error}") from error
        if digest in found:
            raise DocumentError(f"{source}: {found[digest].name!r} and {name!r} are the same key")
        found[digest] = info
    return found
