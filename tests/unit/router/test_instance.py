"""A router that starts on an instance: metadata, then its environment's document."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sglrouter import instance
from sglrouter.errors import DocumentError, StartError


class Metadata(BaseHTTPRequestHandler):
    """Instance metadata, version 2: without the token nothing is told."""

    def do_PUT(self):
        assert self.path == "/latest/api/token"
        assert int(self.headers["X-aws-ec2-metadata-token-ttl-seconds"]) > 0
        self._say(200, b"token-1")

    def do_GET(self):
        if self.headers["X-aws-ec2-metadata-token"] != "token-1":
            self._say(401, b"")
        elif self.path == "/latest/user-data":
            self._say(200, b'environment: prod\nrelease: "2026.11.1"\n')
        elif self.path == "/latest/meta-data/placement/region":
            self._say(200, b"us-east-1")
        elif self.path == "/latest/meta-data/instance-id":
            self._say(200, b"i-0123456789abcdef0")
        else:
            self._say(404, b"")

    def _say(self, status, body):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def metadata(monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv(
        "AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{server.server_port}/"
    )
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


DOCUMENT = {
    "environment": "prod",
    "fleets": {"chat": {"models": ["tiny"]}},
    "keys": {"secret": "sglctl/prod/api-keys"},
    "discovery": {"kind": "aws"},
}


def test_an_instance_finds_its_document(metadata, monkeypatch):
    """Token, user data, environment, parameter."""
    asked = []

    def parameter(name):
        asked.append(name)
        return json.dumps(DOCUMENT)

    monkeypatch.setattr(instance, "_parameter", parameter)
    document = instance.document_from_instance()
    assert asked == ["/sglctl/prod/router"]
    assert document.environment == "prod"


def test_a_router_among_peers_knows_itself_by_its_instance_id(metadata):
    assert instance.own_instance_id() == "i-0123456789abcdef0"


def test_an_instance_of_another_environment_refuses_the_document(metadata, monkeypatch):
    other = json.dumps({**DOCUMENT, "environment": "dev"})
    monkeypatch.setattr(instance, "_parameter", lambda name: other)
    with pytest.raises(DocumentError, match="document of 'dev'"):
        instance.document_from_instance()


def test_an_unreachable_metadata_service_ends_the_start_after_its_deadline(monkeypatch):
    """With an injected clock: it is asked again and again until then."""
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    time, slept = [0.0], []

    def sleep(seconds):
        slept.append(seconds)
        time[0] += seconds

    with pytest.raises(StartError, match="cannot be read"):
        instance.document_from_instance(lambda: time[0], sleep)
    assert 55 <= sum(slept) <= 60
