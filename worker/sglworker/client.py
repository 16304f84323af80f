"""`sglworker state`, `drain` and `undrain`: ask the agent of this host."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from sglworker.errors import WorkerError
from sglworker.files import Files
from sglworker.models import WorkerState, parse

_TIMEOUT_S = 5.0
_POLL_S = 0.2


class Client:
    """Talks to the running agent. Every call raises WorkerError where it does not answer."""

    def __init__(self, files: Files) -> None:
        try:
            self._url = str(json.loads(files.agent.read_text())["url"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WorkerError(
                f"no agent runs here (cannot read {files.agent}): start sglworker.service"
            ) from error
        # The agent is this very host: no proxy between.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def state(self) -> WorkerState:
        return parse(WorkerState, self._call("GET", "/state"), f"{self._url}/state")

    def drain(self, deadline_s: float | None) -> WorkerState:
        body = json.dumps({} if deadline_s is None else {"deadline_s": deadline_s}).encode()
        return parse(WorkerState, self._call("POST", "/drain", body), f"{self._url}/drain")

    def undrain(self) -> WorkerState:
        return parse(WorkerState, self._call("POST", "/undrain", b""), f"{self._url}/undrain")

    def engine_started(self, pid: int) -> None:
        self._call("POST", "/engine-started", json.dumps({"pid": pid}).encode())

    def wait_drained(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> WorkerState | None:
        """The state once drained, None when it is not within `seconds`.

        Raises WorkerError when the drain was taken back.
        """
        deadline = clock() + seconds
        while True:
            state = self.state()
            if state.state == "drained":
                return state
            if state.state != "draining":
                raise WorkerError(f"the worker is {state.state}: the drain was taken back")
            if clock() >= deadline:
                return None
            sleep(_POLL_S)

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"{self._url}{path}", body, method=method)  # noqa: S310
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            raise WorkerError(_message(error)) from error
        except OSError as error:
            raise WorkerError(f"the agent at {self._url} does not answer: {error}") from error


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the agent answered {error.code}"
