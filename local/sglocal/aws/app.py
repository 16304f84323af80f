"""moto's WSGI application under the emulator's lock, with errors that clients understand."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any
from xml.sax.saxutils import escape

from flask import Flask, Response, request
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.exceptions import HTTPException

from sglocal.aws.emulator import Emulator

log = logging.getLogger(__name__)

Start = Callable[..., Any]


class AwsApp:
    """The AWS endpoint. S3 is left outside the lock: its bodies are large and its state apart."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._moto = DomainDispatcherApplication(_create_app)

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """WSGI."""
        # moto matches S3's keys as they were sent, under the name that werkzeug's server uses.
        environ.setdefault("RAW_URI", environ.get("REQUEST_URI", ""))
        if signed_for(environ) == "s3":
            return self._moto(environ, start)  # type: ignore[no-any-return]
        _buffer_body(environ)
        with self._emulator.lock:
            return self._moto(environ, start)  # type: ignore[no-any-return]


def signed_for(environ: dict[str, Any]) -> str:
    """The service that a request is signed for, empty when it is not signed."""
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    _, _, scope = authorization.partition("Credential=")
    parts = scope.split(",")[0].split("/")
    return parts[3].lower() if len(parts) == 5 else ""


def _buffer_body(environ: dict[str, Any]) -> None:
    """Read the request before the lock is taken: a slow client must not hold it."""
    if environ.get("wsgi.input_terminated"):
        body = environ["wsgi.input"].read()
    else:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))


def _create_app(service: Any) -> Flask:
    app: Flask = create_backend_app(service)
    app.register_error_handler(NotImplementedError, _not_simulated)
    app.register_error_handler(Exception, _broken)
    return app


def _not_simulated(error: Exception) -> Response:
    message = f"sglocal does not simulate this call ({error}); see docs/reference/local.md"
    log.warning("%s %s: %s", request.method, request.path, error)
    return _error("UnsupportedOperation", message)


def _broken(error: Exception) -> Any:
    if isinstance(error, HTTPException):
        return error
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    # 400, not 500: SDKs retry a 500 for minutes, and this will not get better.
    return _error("InternalFailure", f"sglocal: {type(error).__name__}: {error}")


def _error(code: str, message: str) -> Response:
    """An AWS error in the request's protocol."""
    if "json" in (request.content_type or ""):
        body = json.dumps({"__type": code, "message": message})
        return Response(body, status=400, content_type="application/x-amz-json-1.1")
    fields = f"<Code>{code}</Code><Message>{escape(message)}</Message>"
    if request.form.get("Version", "").startswith("2016-11-15"):  # EC2's own shape
        body = f"<Response><Errors><Error>{fields}</Error></Errors></Response>"
    else:
        body = f"<ErrorResponse><Error>{fields}</Error></ErrorResponse>"
    return Response(body, status=400, content_type="text/xml")
