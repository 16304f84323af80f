"""The metadata service as a WSGI application, version 2 only.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
A token is asked for with PUT and X-aws-ec2-metadata-token-ttl-seconds (1 to 21,600), and a GET
without a valid one is 401.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from sglocal.aws.fault_list import Fault
from sglocal.clock import Clock
from sglocal.metadata.tree import Facts, lookup, tree

LONGEST_TTL_S = 21_600
TTL_HEADER = "HTTP_X_AWS_EC2_METADATA_TOKEN_TTL_SECONDS"
TOKEN_HEADER = "HTTP_X_AWS_EC2_METADATA_TOKEN"  # noqa: S105
# Tokens kept at most; the oldest go first.
KEPT_TOKENS = 10_000

Start = Callable[[str, list[tuple[str, str]]], Any]


class Tokens:
    """Session tokens of one instance each."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, float]] = {}

    def issue(self, instance_id: str, ttl_s: int) -> str:
        """A new token, valid for `ttl_s` seconds."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._known) >= KEPT_TOKENS:
                del self._known[next(iter(self._known))]
            self._known[token] = (instance_id, self._clock() + ttl_s)
        return token

    def valid(self, token: str, instance_id: str) -> bool:
        """Whether the token was issued to this instance and is not over."""
        with self._lock:
            owner, until = self._known.get(token, ("", 0.0))
        return owner == instance_id and self._clock() < until


class MetadataApp:
    """Answers one caller; `facts_for` says who calls, by the address of the connection.

    `spoil`: the fault that meets a request of an instance, or None; one with a code is 503.
    """

    def __init__(
        self,
        facts_for: Callable[[dict[str, Any]], Facts | None],
        clock: Clock,
        *,
        spoil: Callable[[str], Fault | None] = lambda _instance_id: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._facts_for = facts_for
        self._clock = clock
        self._spoil, self._sleep = spoil, sleep
        self._tokens = Tokens(clock)

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """WSGI."""
        status, body, headers = self._answer(environ)
        start(status, [("Content-Length", str(len(body))), ("Server", "EC2ws"), *headers])
        return [body]

    def _answer(self, environ: dict[str, Any]) -> tuple[str, bytes, list[tuple[str, str]]]:
        text = ("Content-Type", "text/plain")
        facts = self._facts_for(environ)
        if facts is None:
            return "404 Not Found", b"no instance has the address of the caller\n", [text]
        fault = self._spoil(facts.instance_id)
        if fault is not None:
            self._sleep(fault.latency_s)
            if fault.code:
                return "503 Service Unavailable", b"", [text]
        path = environ.get("PATH_INFO", "")
        if path == "/latest/api/token":
            return self._token(environ, facts)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return "405 Method Not Allowed", b"", [text]
        if not self._tokens.valid(environ.get(TOKEN_HEADER, ""), facts.instance_id):
            return "401 Unauthorized", b"", [text]
        if not path.startswith("/latest/"):
            body = b"latest\n" if path in ("", "/") else None
        else:
            body = lookup(tree(facts, self._clock.now()), path.removeprefix("/latest/"))
        if body is None:
            return "404 Not Found", b"", [text]
        return "200 OK", body, [text]

    def _token(
        self, environ: dict[str, Any], facts: Facts
    ) -> tuple[str, bytes, list[tuple[str, str]]]:
        if environ["REQUEST_METHOD"] != "PUT":
            return "405 Method Not Allowed", b"", [("Allow", "OPTIONS, PUT")]
        if "HTTP_X_FORWARDED_FOR" in environ:  # a request through a proxy gets no token
            return "403 Forbidden", b"", []
        ttl = environ.get(TTL_HEADER, "")
        if not ttl.isdigit() or not 1 <= int(ttl) <= LONGEST_TTL_S:
            return "400 Bad Request", b"", []
        token = self._tokens.issue(facts.instance_id, int(ttl))
        header = ("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", ttl)
        return "200 OK", token.encode(), [header, ("Content-Type", "text/plain")]
