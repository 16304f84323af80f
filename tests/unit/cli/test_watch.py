"""`status --watch`: sums, rates, cost; what a router says; looks that fail."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglctl.aws import router_counters
from sglctl.aws.router_counters import RouterCounters
from sglctl.aws.run_command import ScriptResult
from sglctl.core.overview import FleetLoad, Overview, cost, fleet_load, rate
from sglctl.errors import SglctlError
from sglctl.operations.watch import forever
from tests.unit.cli.worker_world import worker

PRICES = {"m7i.large": Decimal("0.1008")}


@pytest.mark.parametrize(
    ("before", "now", "seconds", "expected"),
    [
        ({"a": 10.0, "b": 0.0}, {"a": 30.0, "b": 20.0}, 2, 20.0),
        # A router began anew: all it has is new. A new one tells nothing yet.
        ({"a": 100.0}, {"a": 10.0}, 2, 5.0),
        ({"a": 0.0}, {"a": 10.0, "b": 500.0}, 2, 5.0),
        # One that left takes its last tokens with it.
        ({"a": 0.0, "b": 7.0}, {"a": 10.0}, 2, 5.0),
        # Not read is not zero.
        ({"a": 0.0, "b": 0.0}, {"a": 10.0, "b": None}, 2, None),
        ({"a": None}, {"a": 10.0}, 2, None),
        ({}, {"a": 10.0}, 2, None),
        ({"a": 1.0}, {"a": 10.0}, 0, None),
    ],
)
def test_throughput_follows_from_two_looks(
    before: dict[str, float | None], now: dict[str, float | None], seconds: float,
    expected: float | None,
) -> None:  # fmt: skip
    assert rate(before, now, seconds) == expected


COUNTS = st.dictionaries(st.sampled_from("abc"), st.none() | st.floats(0, 1e9))


@given(COUNTS, COUNTS, st.floats(-1, 100))
def test_throughput_is_never_negative(
    before: dict[str, float | None], now: dict[str, float | None], seconds: float
) -> None:
    assert (rate(before, now, seconds) or 0) >= 0


def test_an_unknown_price_makes_the_sum_unknown() -> None:
    assert cost(["m7i.large"] * 2, PRICES.get) == Decimal("0.2016")
    assert cost(["m7i.large", "g9.large"], PRICES.get) is None
    assert cost([], PRICES.get) == 0


def test_a_fleet_is_summed_over_its_own_workers() -> None:
    """A stopped warm instance costs no hour; a silent one is billed all the same."""
    workers = [
        worker("i-1", in_flight=3), worker("i-2", "draining", in_flight=2),
        worker("i-3", "unreachable"), worker("i-4", "stopped", "Warmed:Stopped"),
        worker("i-5", fleet="reason", in_flight=50),
    ]  # fmt: skip
    found = fleet_load("chat", 3, workers, 4, None, PRICES.get)
    assert found.states == {"ready": 1, "draining": 1, "unreachable": 1, "stopped": 1}
    assert (found.streams, found.queued, found.usd_per_hour) == (5, 4, Decimal("0.3024"))


CHAT = FleetLoad("chat", 3, {"draining": 1, "ready": 2}, 5, 4, 612.4, 0.789, Decimal("0.3024"))
SEEN = Overview("dev", datetime(2026, 11, 21, 10, tzinfo=UTC), (CHAT,), (1, 2), None)


def test_a_look_is_a_table_a_line_or_an_object() -> None:
    head, _, columns, row = SEEN.to_text().splitlines()
    assert head == "dev  10:00:00 UTC  routers 1/2 healthy  $?/hour with them"
    assert row.split() == ["chat", "3", "2", "ready", "1", "draining", "5", "4", "612", "79%",
                           "0.30"]  # fmt: skip
    assert columns.index("STREAMS") == row.index("5  ")
    assert SEEN.to_line() == (
        "10:00:00 routers 1/2; chat: 2 ready 1 draining, 5 streams, 4 queued, 612 tokens/s, "
        "79% cache hits, 0.30 $/hour"
    )
    document = json.loads(json.dumps(SEEN.to_json()))
    assert document["usd_per_hour"] is None
    assert document["fleets"][0]["states"] == {"draining": 1, "ready": 2}


METRICS = b"""# TYPE sglrouter_tokens_total counter
sglrouter_tokens_total{key="a",fleet="chat",kind="completion"} 40
sglrouter_tokens_total{fleet="chat",key="b",kind="completion"} 2.5
sglrouter_tokens_total{key="a",fleet="chat",kind="prompt"} 900
sglrouter_tokens_total{key="a",fleet="reason",kind="completion"} 7
sglrouter_queue_depth{fleet="chat"} 3
"""


@pytest.fixture
def router() -> Iterator[int]:
    """A router's admin port."""

    class Admin(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(METRICS)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's
            pass

    with HTTPServer(("127.0.0.1", 0), Admin) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def run_script(port: int) -> ScriptResult:
    done = subprocess.run(
        ["sh", "-c", router_counters.script(port)], capture_output=True, text=True, timeout=60,
        env={"PATH": os.environ["PATH"], "SGLCTL_HOST_ADDRESS": "127.0.0.1"}, check=False,
    )  # fmt: skip
    status = "Success" if done.returncode == 0 else "Failed"
    return ScriptResult("i-r", status, done.returncode, done.stdout, done.stderr)


def test_a_router_tells_what_it_generated_and_what_waits(router: int) -> None:
    assert router_counters.parse(run_script(router)) == RouterCounters(
        {"chat": 42.5, "reason": 7.0}, {"chat": 3}
    )


def test_a_router_that_does_not_answer_has_no_counters_not_zeros() -> None:
    assert router_counters.parse(run_script(1)) is None
    assert router_counters.parse(ScriptResult("i", "Success", 0, "[]", "")) is None


def test_one_router_without_run_command_hides_no_other() -> None:
    class Commands:
        def run(self, ids: Sequence[str], _: str, *, timeout_s: float) -> dict[str, ScriptResult]:
            if "i-gone" in ids:
                raise SglctlError("does not reach i-gone")
            said = '{"tokens": {}, "queued": {}}'
            return {name: ScriptResult(name, "Success", 0, said, "") for name in ids}

    commands: Any = Commands()
    assert router_counters.read(commands, ["i-gone", "i-r"]) == {
        "i-gone": None, "i-r": RouterCounters({}, {})
    }  # fmt: skip


class EnoughError(Exception):
    """Ends a watch that would go on for ever."""


def test_a_look_that_fails_is_told_and_made_again() -> None:
    looks: list[Overview | Exception] = [SEEN, SglctlError("throttled"), SEEN, EnoughError()]
    shown: list[Overview] = []
    told: list[str] = []

    def look() -> Overview:
        found = looks.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    with pytest.raises(EnoughError):
        forever(look, 2, shown.append, told.append, sleep=lambda _: None)
    assert (shown, told) == ([SEEN, SEEN], ["throttled"])


def test_ten_failures_in_a_row_end_the_watch() -> None:
    told: list[str] = []

    def look() -> Overview:
        raise SglctlError("gone")

    with pytest.raises(SglctlError, match="gone"):
        forever(look, 2, lambda _: None, told.append, sleep=lambda _: None)
    assert len(told) == 9
