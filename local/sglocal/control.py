"""The emulator's own routes, beside the AWS API: `/_sglocal/…`.

GET  /_sglocal/status                     hosts, load balancers, images
POST /_sglocal/seed                       {"certificates": ["llm.example.com"]}
/_sglocal/faults                          see fault_routes
/_sglocal/<notice>/<instance id>          see notice_routes
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from sglocal.errors import LocalError
from sglocal.notice_routes import ROUTES

PREFIX = "/_sglocal/"
JSON = "application/json"

Start = Callable[..., Any]


class Control:
    """Dispatches between our routes and the AWS application."""

    def __init__(
        self,
        aws: Callable[..., Iterable[bytes]],
        *,
        status: Callable[[], dict[str, Any]],
        seed: Callable[[list[str]], dict[str, Any]],
        faults: Callable[[str, str, dict[str, Any]], dict[str, Any] | None],
        notices: Callable[[str, str, str, dict[str, Any]], dict[str, Any] | None],
    ) -> None:
        self._aws = aws
        self._status = status
        self._seed = seed
        self._faults = faults
        self._notices = notices

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """WSGI."""
        path = environ.get("PATH_INFO", "")
        if not path.startswith(PREFIX):
            return self._aws(environ, start)
        try:
            given = _body(environ)
            answer = self._route(environ["REQUEST_METHOD"], path.removeprefix(PREFIX), given)
            status = "200 OK" if answer is not None else "404 Not Found"
        except LocalError as error:
            status, answer = "400 Bad Request", {"error": str(error)}
        body = (
            json.dumps(
                answer if answer is not None else {"error": f"no such route: {path}"}, indent=2
            ).encode()
            + b"\n"
        )
        start(status, [("Content-Type", JSON), ("Content-Length", str(len(body)))])
        return [body]

    def _route(self, method: str, route: str, given: dict[str, Any]) -> dict[str, Any] | None:
        if (method, route) == ("GET", "status"):
            return self._status()
        if (method, route) == ("POST", "seed"):
            domains = given.get("certificates", [])
            if not isinstance(domains, list) or not all(isinstance(d, str) for d in domains):
                raise LocalError('seed: "certificates" must be a list of domain names')
            return self._seed(domains)
        what, _, instance_id = route.partition("/")
        if what in ROUTES and instance_id:
            return self._notices(method, what, instance_id, given)
        if route == "faults" or route.startswith("faults/"):
            return self._faults(method, route.removeprefix("faults").strip("/"), given)
        return None


def _body(environ: dict[str, Any]) -> dict[str, Any]:
    text = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if not text:
        return {}
    try:
        document = json.loads(text)
    except ValueError as error:
        raise LocalError(f"the request's body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise LocalError("the request's body must be a JSON object")
    return document
