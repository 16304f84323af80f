"""An API outside the environment, as something a request can be sent to."""

from __future__ import annotations

import ssl
from dataclasses import replace
from functools import lru_cache
from urllib.parse import urlsplit

from sglrouter.fleet.workers import Address
from sglrouter.models import External
from sglrouter.serving.target import Target
from sglrouter.serving.tiers import lines_for, mapped_model, rename_model
from sglrouter.wire.body import RequestView
from sglrouter.wire.head import Head


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class ExternalTarget(Target):
    """`name` is the external's in the document; TLS is verified against the system's roots."""

    __slots__ = ("_prefix", "settings")

    def __init__(self, name: str, settings: External) -> None:
        parts = urlsplit(settings.url)
        secure = parts.scheme == "https"
        assert parts.hostname is not None  # the document's validator saw to it
        port = parts.port or (443 if secure else 80)
        super().__init__(name.encode(), Address(parts.hostname, port), _tls() if secure else None)
        self.host_header = parts.netloc.rpartition("@")[2].encode()
        self.settings = settings
        self._prefix = parts.path.encode()

    def serves(self, path: str, model: str | None) -> bool:
        return mapped_model(self.settings, path, model) is not None

    def request(
        self, head: Head, view: RequestView, path: str, key: bytes, request_id: bytes
    ) -> tuple[bytes, bytes]:
        """Head and body as the external wants them; `serves` must have said yes."""
        model = mapped_model(self.settings, path, view.model)
        assert model is not None
        assert view.document is not None
        body = rename_model(view.body, view.document, model)
        changed = replace(
            head,
            target=self._prefix + head.target,
            passed=lines_for(self.settings.kind, path, head.passed, key),
        )
        return changed.for_worker(self.host_header, len(body), request_id), body
