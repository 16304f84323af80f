"""The load balancer in front of process hosts: real HAProxy, real sockets."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    shutil.which("haproxy") is None and shutil.which("haproxy", path="/usr/sbin") is None,
    reason="haproxy is not installed: apt-get install -y haproxy",
)

EVENTS = 30
GAP_S = 0.1


class Streamer(BaseHTTPRequestHandler):
    """Answers with the address it listens on, or with a stream of events that carry the time."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/stream":
            self._stream()
            return
        body = str(self.connection.getsockname()[0]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(EVENTS):
            event = f"data: {time.monotonic()}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
            time.sleep(GAP_S)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: Any) -> None: ...


class Hosts(ThreadingHTTPServer):
    """Does not report clients that are gone: HAProxy closes idle connections so."""

    def handle_error(self, *_: Any) -> None: ...


@pytest.fixture
def port() -> Iterator[int]:
    """The port on which both of the hosts' addresses answer."""
    first = Hosts(("127.40.0.4", 0), Streamer)
    chosen = first.server_port
    second = Hosts(("127.40.1.4", chosen), Streamer)
    for server in (first, second):
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield chosen
    for server in (first, second):
        server.shutdown()
        server.server_close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(cloud: Any, port: int, *, certificate: str | None = None) -> tuple[int, Any]:
    """A group of one instance behind a listener; the listener's port and the group."""
    elbv2, subnets = cloud.client("elbv2"), cloud.subnets()
    group = elbv2.create_target_group(
        Name="router", Protocol="HTTP", Port=port, VpcId=cloud.vpc, HealthCheckPath="/health"
    )["TargetGroups"][0]["TargetGroupArn"]
    balancer = elbv2.create_load_balancer(Name="router", Subnets=subnets)["LoadBalancers"][0]
    listener = free_port()
    secure = {"Protocol": "HTTPS", "Certificates": [{"CertificateArn": certificate}]}
    elbv2.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Port=listener,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
        **(secure if certificate else {"Protocol": "HTTP"}),
    )
    describe = cloud.group(
        "routers",
        TargetGroupARNs=[group],
        VPCZoneIdentifier=",".join(subnets),
        Tags=[{"Key": "sglctl:role", "Value": "router", "PropagateAtLaunch": True}],
    )
    return listener, describe


def get(url: str, context: ssl.SSLContext | None = None) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError):
        return None


def desire(cloud: Any, count: int) -> None:
    cloud.client("autoscaling").set_desired_capacity(
        AutoScalingGroupName="routers", DesiredCapacity=count
    )


class Stream:
    """A stream being read: how many events came, and how late the latest was."""

    def __init__(self, listener: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", listener, timeout=10)
        self._connection.request("GET", "/stream")
        self._answer = self._connection.getresponse()
        self.delays: list[float] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while line := self._answer.readline():
            if line.startswith(b"data: "):
                self.delays.append(time.monotonic() - float(line.split()[1]))

    def finish(self) -> list[float]:
        self._thread.join(EVENTS * GAP_S + 10)
        self._answer.close()
        self._connection.close()
        return self.delays


def test_a_stream_survives_reloads_and_its_events_arrive_at_once(
    process_cloud: Any, port: int
) -> None:
    listener, describe = serve(process_cloud, port)
    process_cloud.until(lambda: get(f"http://127.0.0.1:{listener}/") == "127.40.0.4")
    stream = Stream(listener)
    desire(process_cloud, 2)  # a second target: the configuration is loaded anew
    process_cloud.settle(describe, 2)
    process_cloud.until(lambda: get(f"http://127.0.0.1:{listener}/") == "127.40.1.4")
    delays = stream.finish()
    assert len(delays) == EVENTS
    assert sorted(delays)[EVENTS // 2] < GAP_S / 2


def test_an_instance_is_terminated_after_its_last_stream(process_cloud: Any, port: int) -> None:
    listener, describe = serve(process_cloud, port)
    process_cloud.until(lambda: get(f"http://127.0.0.1:{listener}/"))
    instance_id = process_cloud.settle(describe, 1)[0]
    stream = Stream(listener)
    desire(process_cloud, 0)
    process_cloud.until(lambda: get(f"http://127.0.0.1:{listener}/") is None)
    assert process_cloud.instance_state(instance_id) == "running"
    assert len(stream.finish()) == EVENTS
    process_cloud.until(lambda: process_cloud.states(describe) == [])


def test_a_seeded_certificate_serves_its_listener(process_cloud: Any, port: int) -> None:
    request = urllib.request.Request(
        f"{process_cloud.endpoint}/_sglocal/seed",
        data=json.dumps({"certificates": ["llm.example.com"]}).encode(),
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        seeded = json.load(answer)
    arn = seeded["certificates"]["llm.example.com"]
    listed = process_cloud.client("acm").list_certificates(CertificateStatuses=["ISSUED"])
    assert [c["CertificateArn"] for c in listed["CertificateSummaryList"]] == [arn]
    listener, _ = serve(process_cloud, port, certificate=arn)
    context = ssl.create_default_context(cafile=seeded["ca_file"])
    url = f"https://127.0.0.1:{listener}/"
    process_cloud.until(lambda: get(url, context) == "127.40.0.4")


def test_the_status_lists_hosts_load_balancers_and_errors(process_cloud: Any, port: int) -> None:
    listener, describe = serve(process_cloud, port)
    instance_id = process_cloud.settle(describe, 1)[0]
    process_cloud.until(lambda: get(f"http://127.0.0.1:{listener}/"))
    with urllib.request.urlopen(f"{process_cloud.endpoint}/_sglocal/status", timeout=5) as answer:
        status = json.load(answer)
    host, balancer = status["hosts"][0], status["load_balancers"][0]
    assert (host["instance_id"], host["address"], host["role"], host["state"]) == (
        instance_id,
        "127.40.0.4",
        "router",
        "running",
    )
    assert balancer["url"] == f"http://127.0.0.1:{listener}"
    assert [(t["id"], t["state"]) for t in balancer["targets"]] == [(instance_id, "healthy")]
    assert status["errors"] == []


def test_a_port_in_use_is_an_error_in_the_status(process_cloud: Any, port: int) -> None:
    elbv2, subnets = process_cloud.client("elbv2"), process_cloud.subnets()
    balancer = elbv2.create_load_balancer(Name="router", Subnets=subnets)["LoadBalancers"][0]
    fixed = {"StatusCode": "200", "ContentType": "text/plain", "MessageBody": 'it\'s "fixed"'}
    action = {"Type": "fixed-response", "FixedResponseConfig": fixed}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listener = taken.getsockname()[1]
        elbv2.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=listener,
            DefaultActions=[action],
        )

        def errors() -> list[str]:
            url = f"{process_cloud.endpoint}/_sglocal/status"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return list(json.load(answer)["errors"])

        found = process_cloud.until(errors)
        assert found[0].startswith(f"the listener of port {listener} cannot be served")
    url = f"http://127.0.0.1:{listener}/"
    process_cloud.until(lambda: get(url) == 'it\'s "fixed"')
    assert errors() == []
