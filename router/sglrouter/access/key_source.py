"""Reads the document's secrets again and again: API keys, admin key, external services' keys.

Each is read from Secrets Manager or a file at its own interval; what cannot be read leaves
the last value in force. A data process gets them from its parent: `secrets_dump`, `take_secrets`.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from sglrouter.access.keys import digest_of
from sglrouter.aws import AwsError, call
from sglrouter.errors import DocumentError
from sglrouter.models import RouterDocument, SecretSource
from sglrouter.serving.core import Router

# Until a secret is there requests are refused for want of it: ask sooner.
FIRST_INTERVAL_S = 2.0
# How late a change of the document, or the end of an interval, may be noticed.
POLL_S = 0.5
API_KEYS, ADMIN_KEY, EXTERNAL = "keys", "admin_key", "external:"


def secrets_of(document: RouterDocument) -> dict[str, SecretSource]:
    """The secrets a document names: `keys`, `admin_key`, `external:<name>`."""
    found: dict[str, SecretSource] = {}
    if document.keys is not None:
        found[API_KEYS] = document.keys
    if document.admin_key is not None:
        found[ADMIN_KEY] = document.admin_key
    return found | {EXTERNAL + name: item.key for name, item in document.externals.items()}


def take_secret(router: Router, which: str, text: str, source: str) -> None:
    """Put one secret in force. Raises DocumentError, which never repeats the text."""
    if which == API_KEYS:
        router.keys.load(text, source)
        router.limits.keep(router.keys.names())
        return
    key = text.strip()
    try:
        digest = digest_of(key)
    except ValueError as error:
        raise DocumentError(f"{source}: the key {error}") from error
    if which == ADMIN_KEY:
        router.admin_key_hash = digest
    else:
        router.external_keys[which.removeprefix(EXTERNAL)] = key.encode()


def forget_secrets(router: Router) -> None:
    """Drop what the document in force no longer names."""
    if router.document.admin_key is None:
        router.admin_key_hash = None
    for name in set(router.external_keys) - set(router.document.externals):
        del router.external_keys[name]


def secrets_dump(router: Router) -> dict[str, str]:
    """What `take_secrets` needs. Only externals' keys are not hashed."""
    found = {EXTERNAL + name: key.decode() for name, key in router.external_keys.items()}
    if router.keys.loaded:
        found[API_KEYS] = router.keys.dump()
    if router.admin_key_hash is not None:
        found[ADMIN_KEY] = router.admin_key_hash.hex()
    return found


def take_secrets(router: Router, dump: Mapping[str, str]) -> None:
    """Put in force what the parent process read. Raises DocumentError."""
    for which, text in dump.items():
        if which == ADMIN_KEY:
            router.admin_key_hash = bytes.fromhex(text)
        else:
            take_secret(router, which, text, "the parent process")
    forget_secrets(router)


def _read_secret(name: str) -> str:
    """https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html"""
    answer = call("secretsmanager", lambda client: client.get_secret_value(SecretId=name))
    value = answer.get("SecretString")
    if not isinstance(value, str):
        raise DocumentError(f"secret {name}: it has no text value")
    return value


async def _read(which: str, source: SecretSource) -> tuple[str, str]:
    """(where from, text). Raises DocumentError."""
    try:
        if source.secret is not None:
            text = await asyncio.to_thread(_read_secret, source.secret)
            return f"secret {source.secret}", text
        path = Path(str(source.file))
        return str(path), await asyncio.to_thread(path.read_text)
    except (AwsError, OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{which} cannot be read: {error}") from error


async def read_files(router: Router) -> None:
    """Read the secrets that are files: a wrong file is a wrong start. Raises DocumentError."""
    for which, source in secrets_of(router.document).items():
        if source.file is not None:
            origin, text = await _read(which, source)
            take_secret(router, which, text, origin)


class SecretReader:
    """`run` until cancelled. `changed` is called when a secret is new or other than before.

    `looked` is set after the first read of every secret, failed or not.
    """

    def __init__(self, router: Router, changed: Callable[[], None] | None = None) -> None:
        self.router = router
        self.looked = asyncio.Event()
        self._changed = changed
        self._sources: dict[str, SecretSource] = {}
        self._due: dict[str, float] = {}
        self._logged: dict[str, str] = {}

    async def run(self) -> None:
        while True:
            try:
                await self.read_due()
            except Exception:  # a defect here must not leave revoked keys in force for ever
                self.router.metrics.keys_failed()
                self.router.log.write("keys_failed", {"traceback": traceback.format_exc()})
            self.looked.set()
            await asyncio.sleep(POLL_S)

    async def read_due(self) -> None:
        """Read what is due, all at once; a source that the document changed is due."""
        router = self.router
        wanted = secrets_of(router.document)
        forget_secrets(router)
        for which in [w for w in self._sources if self._sources[w] != wanted.get(w)]:
            self._due.pop(which, None)
        self._sources = wanted
        now = router.clock()
        due = [which for which in wanted if self._due.get(which, now) <= now]
        before = secrets_dump(router) if due else {}
        await asyncio.gather(*(self._read_one(which, wanted[which]) for which in due))
        if self._changed is not None and due and secrets_dump(router) != before:
            self._changed()

    async def _read_one(self, which: str, source: SecretSource) -> None:
        interval_s = source.interval_s
        try:
            origin, text = await _read(which, source)
            take_secret(self.router, which, text, origin)
            self._logged.pop(which, None)
        except DocumentError as error:
            self.router.metrics.keys_failed()
            if self._logged.get(which) != str(error):  # say a reason once, not every minute
                self._logged[which] = str(error)
                self.router.log.write("keys_unreadable", {"which": which, "reason": str(error)})
            if not self._held(which):
                interval_s = min(interval_s, FIRST_INTERVAL_S)
        self._due[which] = self.router.clock() + interval_s

    def _held(self, which: str) -> bool:
        return which in secrets_dump(self.router)
