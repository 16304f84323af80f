"""How a start is cut into phases, and how the loads of events begin and end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scaleout import report, streams
from benchmarks.scaleout.start import (
    PHASES,
    UNTIL_HOST,
    UNTIL_ROUTABLE,
    UNTIL_TOKEN,
    Seen,
    Start,
    phases,
    ready_at,
)
from tests.e2e.streams import Streamed

SEEN = Seen(in_service_s=23.0, routable_s=22.5, first_token_s=23.5)


def timeline(**seconds: float | None) -> list[dict[str, Any]]:
    return [{"name": name, "at": "", "seconds": took} for name, took in seconds.items()]


def test_a_cold_start_is_cut_from_the_request_to_the_first_token() -> None:
    """Ready 22 s after the request; the timeline's phases take 20 of them."""
    told = timeline(launch=0.7, boot=2, agent=1, hydrate=0.5, engine_start=16, warm_up=0.5,
                    ready=None)  # fmt: skip
    assert phases(told, 1000.0, 1022.0, SEEN) == {
        UNTIL_HOST: 2.0,
        PHASES["boot"]: 2.0,
        PHASES["agent"]: 1.0,
        PHASES["hydrate"]: 0.5,
        PHASES["engine_start"]: 16.0,
        PHASES["warm_up"]: 0.5,
        UNTIL_ROUTABLE: 0.5,
        UNTIL_TOKEN: 1.0,
    }


def test_what_a_running_pool_did_before_the_request_is_no_part_of_the_start() -> None:
    """Booted and hydrated an hour ago; the engine starts 1.5 s after the request."""
    told = timeline(launch=0.7, boot=2, agent=1, hydrate=0.5, warmed=3600, engine_start=20,
                    warm_up=0.5, ready=3, first_request=None)  # fmt: skip
    assert phases(told, 1000.0, 1022.0, SEEN) == {
        UNTIL_HOST: 1.5,
        PHASES["engine_start"]: 20.0,
        PHASES["warm_up"]: 0.5,
        UNTIL_ROUTABLE: 0.5,
        UNTIL_TOKEN: 1.0,
    }


@given(
    st.lists(st.floats(0, 600), min_size=len(PHASES), max_size=len(PHASES)),
    st.floats(-1000, 1000),
)
def test_the_phases_of_a_start_add_up_to_its_first_token(took: list[float], warm_s: float) -> None:
    """Whatever began before the request and whatever after."""
    told = timeline(**dict(zip(PHASES, took, strict=True)), ready=None)
    requested_at, ready = 5000.0, 5000.0 + sum(took) + warm_s
    seen = Seen(0.0, ready - requested_at + 0.4, ready - requested_at + 0.9)
    rows = phases(told, requested_at, ready, seen)
    assert sum(rows.values()) == pytest.approx(seen.first_token_s, abs=0.01)


def test_the_last_time_it_became_ready_counts() -> None:
    """A worker of a running pool became ready before it came there, too."""
    line = "{} ip-10-20-0-4 sglworker[38]: INFO sglworker.worker warming_up -> ready: 4 generations"
    assert ready_at("\n".join(line.format(at) for at in ("1700000000.250001", "1700000099.5"))) == (
        1700000099.5
    )


def test_a_journal_without_the_word_is_no_start() -> None:
    """Rather than a figure of something else."""
    with pytest.raises(ValueError, match="ready"):
        ready_at("1700000000.1 host sglworker[1]: INFO sglworker.worker starting -> warming_up")


def test_a_ratio_is_of_starts_of_one_round() -> None:
    """Or of one request; one whose cold start is missing has none."""

    def start(kind: str, pair: int, first_token_s: float) -> Start:
        return Start(
            kind, "i-1", pair, replace(SEEN, first_token_s=first_token_s), {}, 1, 1, (), {}
        )

    starts = [start("cold", 0, 20), start("filled", 0, 10), start("filled", 1, 45),
              start("cold", 1, 60), start("filled", 2, 1)]  # fmt: skip
    found = report.ratios(starts, "filled", lambda start: start.seen.first_token_s)
    assert found == [0.5, 0.75]


def test_a_figure_says_of_each_start_where_it_came_from(tmp_path: Path) -> None:
    """Three of four are warm, each otherwise."""

    def start(kind: str) -> Start:
        arrival = {
            "instance_id": f"i-{kind}", "fleet": "chat", "instance_type": "m7i.large",
            "kind": "cold" if kind == "cold" else "warm", "state": "ready",
            "begun": "2026-11-21T20:22:41Z",
            "spans": [{"name": "engine_start", "start_s": 0.0, "seconds": 9.0, "ended": True}],
            "ready_s": 9.0, "first_request_s": None,
        }  # fmt: skip
        drawing = {"version": 1, "result": {"environment": "local", "arrivals": [arrival]}}
        return Start(kind, f"i-{kind}", 0, SEEN, {}, 1, 1, (), drawing)

    report.draw([start("cold"), start("filled"), start("running")], tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text()
    told = [
        f"{kind} · m7i.large" for kind in ("cold · launched", "warm · filled", "warm · running")
    ]
    assert [text for text in told if text not in drawn] == []


def test_clients_go_on_past_their_count_until_the_event_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that every event has streams from its beginning to its end."""

    async def life() -> None:
        begun: asyncio.Queue[asyncio.Event] = asyncio.Queue()

        async def stream(client: Any, url: str, body: Any) -> Streamed:
            await begun.put(may_end := asyncio.Event())
            await may_end.wait()
            return Streamed("i-1", 10, done=True)

        monkeypatch.setattr(streams, "stream", stream)
        load = streams.Load("http://127.0.0.1:1", "key", count=3, at_once=2, tokens=10)
        running = asyncio.create_task(load.run())
        async with asyncio.timeout(10):
            for number in range(6):
                may_end = await begun.get()
                if number == 4:
                    load.enough.set()
                may_end.set()
            await running
        assert load.flowing.is_set()
        assert (load.begun, load.open, len(load.ended)) == (6, 0, 6)

    asyncio.run(life())
