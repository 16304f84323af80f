"""Calls that a client sends again because it never saw the answer.

SDKs number their attempts and give all of one call the same id, in `amz-sdk-request` and
`amz-sdk-invocation-id`:
https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
Most of EC2's calls are not idempotent: a second AuthorizeSecurityGroupIngress is refused as a
duplicate. A call that succeeded is therefore answered again, not made again.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sglocal.aws.app import signed_for
from sglocal.aws.faults import operation

log = logging.getLogger(__name__)

# Answers kept: of the latest calls, none that is large (large ones are descriptions).
KEPT_ANSWERS = 512
LARGEST_BYTES = 65_536
# How long a repeated call waits for the attempt before it.
LONGEST_CALL_S = 60.0
# How much of a refusal's body is logged.
SHOWN_CHARACTERS = 400

Start = Callable[..., Any]
Wsgi = Callable[[dict[str, Any], Start], Iterable[bytes]]


@dataclass(frozen=True)
class Answer:
    """A whole answer, as it was given."""

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Attempts:
    """The AWS endpoint: each call is made once, refused and repeated ones are logged."""

    def __init__(self, app: Wsgi) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._running: dict[str, threading.Event] = {}
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """WSGI."""
        if signed_for(environ) == "s3":  # large bodies, and every call may be repeated
            return self._app(environ, start)
        call = f"{signed_for(environ)} {operation(environ)}"
        invocation = environ.get("HTTP_AMZ_SDK_INVOCATION_ID", "")
        answer = self._known(invocation) if attempt(environ) > 1 else None
        if answer is not None:
            log.warning("%s: the answer was lost on its way, given again", call)
        else:
            answer = self._make(invocation, environ)
        if answer.status[:1] in "45":
            said = " ".join(answer.body.decode(errors="replace").split())[:SHOWN_CHARACTERS]
            log.info("%s, attempt %d: %s: %s", call, attempt(environ), answer.status, said)
        start(answer.status, list(answer.headers))
        return [answer.body]

    def _make(self, invocation: str, environ: dict[str, Any]) -> Answer:
        ended = threading.Event()
        with self._lock:
            self._running[invocation] = ended
        try:
            answer = self._ask(environ)
            self._keep(invocation, answer)
        finally:
            with self._lock:
                self._running.pop(invocation, None)
            ended.set()
        return answer

    def _ask(self, environ: dict[str, Any]) -> Answer:
        seen: list[Any] = []

        def start(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
            seen[:] = [status, tuple(headers)]

        chunks = self._app(environ, start)
        try:
            body = b"".join(chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        return Answer(seen[0], seen[1], body)

    def _known(self, invocation: str) -> Answer | None:
        """What the call was answered; an attempt that is still being made is waited for."""
        with self._lock:
            ended = self._running.get(invocation)
        if ended is not None:
            ended.wait(LONGEST_CALL_S)
        with self._lock:
            return self._answers.get(invocation)

    def _keep(self, invocation: str, answer: Answer) -> None:
        if not invocation or answer.status[:1] != "2" or len(answer.body) > LARGEST_BYTES:
            return
        with self._lock:
            self._answers[invocation] = answer
            while len(self._answers) > KEPT_ANSWERS:
                self._answers.popitem(last=False)


def attempt(environ: dict[str, Any]) -> int:
    """The number of a call's attempt, from 1."""
    found = re.search(r"attempt=(\d+)", environ.get("HTTP_AMZ_SDK_REQUEST", ""))
    return int(found[1]) if found else 1
