"""SIGHUP: the document is read again from where it came, and replaces the old one whole or not.

What only a restart can change (where the router listens, its processes, the size of the index)
stays as it is, and the log line says so.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sglrouter.access.key_source import API_KEYS, secrets_of
from sglrouter.access.keys import digest_of, parse_keys
from sglrouter.errors import DocumentError, RouterError
from sglrouter.models import RouterDocument
from sglrouter.serving.core import Router

_LISTEN, _INDEX = "listen", "affinity.index_bytes"


@dataclass(frozen=True, slots=True)
class Change:
    """`document` is to be in force; `keys` differ from before; `stays` would, after a restart."""

    document: RouterDocument
    keys: tuple[str, ...]
    stays: tuple[str, ...]


def _leaves(value: Any, depth: int = 2, path: str = "") -> dict[str, Any]:
    """Dotted key → value, `depth` levels down."""
    if depth == 0 or not isinstance(value, Mapping) or not value:
        return {path: value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= _leaves(item, depth - 1, f"{path}.{key}" if path else str(key))
    return found


def change_of(old: RouterDocument, new: RouterDocument) -> Change:
    """What a running router takes over. DocumentError: it is another environment's document."""
    if new.environment != old.environment:
        raise DocumentError(
            f"environment: this router is of {old.environment!r}, not of {new.environment!r}"
        )
    before, after = _leaves(old.model_dump()), _leaves(new.model_dump())
    differ = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    stays = [key for key in differ if key.startswith(f"{_LISTEN}.") or key == _INDEX]
    affinity = new.affinity.model_copy(update={"index_bytes": old.affinity.index_bytes})
    document = new.model_copy(update={"listen": old.listen, "affinity": affinity})
    return Change(document, tuple(key for key in differ if key not in stays), tuple(stays))


def read_secret_files(old: RouterDocument, new: RouterDocument) -> dict[str, tuple[str, str]]:
    """Secret → (file, text) of files that are newly named: a wrong one refuses the document.

    Raises DocumentError, which never repeats the text. Blocks.
    """
    found: dict[str, tuple[str, str]] = {}
    before = secrets_of(old)
    for which, source in secrets_of(new).items():
        if source.file is None or source == before.get(which):
            continue
        try:
            text = Path(source.file).read_text()
            if which == API_KEYS:
                parse_keys(text, source.file)
            else:
                digest_of(text.strip())
        except (OSError, ValueError) as error:
            raise DocumentError(f"{which}: {source.file}: {error}") from error
        found[which] = source.file, text
    return found


class Reloader:
    """`run` until cancelled; `request` asks for a reload. What is asked for while one runs
    is one more reload, not several."""

    def __init__(
        self,
        router: Router,
        read: Callable[[], RouterDocument],
        apply: Callable[[RouterDocument], Awaitable[Change]],
    ) -> None:
        self._router = router
        self._read = read
        self._apply = apply
        self._asked = asyncio.Event()

    def request(self) -> None:
        self._asked.set()

    async def run(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self._reload()

    async def _reload(self) -> None:
        try:
            change = await self._apply(await asyncio.to_thread(self._read))
        except RouterError as error:
            self._tell("refused", {"reason": str(error)})
        except Exception:  # a defect here must not end the loop: the old document stays in force
            self._tell("refused", {"traceback": traceback.format_exc()})
        else:
            outcome = "applied" if change.keys else "unchanged"
            self._tell(outcome, {"changed": change.keys, "needs_restart": change.stays})

    def _tell(self, outcome: str, fields: dict[str, Any]) -> None:
        self._router.metrics.reloads(outcome)
        self._router.log.write("reload", {"outcome": outcome, **fields})
