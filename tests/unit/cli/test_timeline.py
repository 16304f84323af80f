"""How workers came into service: what is joined, what is drawn, and what is read again."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sglctl.core import timeline_svg, timeline_text
from sglctl.core.timeline import (
    Arrival,
    Launch,
    Span,
    arrival,
    comparison,
    in_order,
    launch_of,
    ticks,
)
from sglctl.errors import PreconditionError
from sglctl.operations.timeline import Timeline, load
from sglworker.models import WorkerState
from tests.unit.cli.worker_world import worker

T0 = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
COLD = (("launch", 5.0), ("boot", 8.0), ("agent", 1.0), ("hydrate", 12.0), ("engine_start", 16.0),
        ("warm_up", 3.0), ("ready", 30.0), ("first_request", None))  # fmt: skip
WARM_RUNNING = (("launch", 5.0), ("hydrate", 12.0), ("warmed", 600.0), ("engine_start", 16.0),
                ("warm_up", 3.0), ("ready", None))  # fmt: skip


def told(
    phases: tuple[tuple[str, float | None], ...], first: datetime, state: str = "ready",
    since: datetime = T0 + timedelta(seconds=40),
) -> WorkerState:  # fmt: skip
    timeline, at = [], first
    for name, seconds in phases:
        timeline.append({"name": name, "at": at, "seconds": seconds})
        at += timedelta(seconds=seconds or 0)
    return WorkerState.model_validate(
        {"instance_id": "i-1", "environment": "dev", "fleet": "chat", "role": "regular",
         "release": "r", "model": "m", "served_model_name": "m", "engine": "sglang",
         "engine_version": "", "engine_url": "http://x", "state": state, "since": since,
         "timeline": timeline}
    )  # fmt: skip


def seconds(found: Arrival | str) -> dict[str, float]:
    assert isinstance(found, Arrival)
    return {span.name: span.seconds for span in found.spans}


@pytest.mark.parametrize(
    ("description", "cause", "expected"),
    [
        ("Launching a new EC2 instance: i-0a",
         "At 2026-11-21T09:59:00Z a user request explicitly set group desired capacity.  "
         "At 2026-11-21T09:59:58Z an instance was started in response to a difference.",
         Launch("i-0a", "cold", T0 - timedelta(seconds=60))),
        ("Launching a new EC2 instance from warm pool: i-0a", "",
         Launch("i-0a", "warm", T0)),
        ("Launching a new EC2 instance into warm pool: i-0a", "At 2026-11-21T10:00:09Z later.",
         Launch("i-0a", "prepared", T0)),
        ("Terminating EC2 instance: i-0a", "At 2026-11-21T09:59:00Z no.", None),
        ("Launching a new EC2 instance.  Status Reason: no capacity", "", None),
    ],
)  # fmt: skip
def test_a_launch_counts_from_what_made_the_group_want_it(
    description: str, cause: str, expected: Launch | None
) -> None:
    assert launch_of({"Description": description, "Cause": cause, "StartTime": T0}) == expected


def test_a_cold_start_is_drawn_from_the_request_to_ready() -> None:
    launch = Launch("i-1", "cold", T0 - timedelta(seconds=2))
    found = arrival(worker(), told(COLD, T0), launch, T0 + timedelta(days=1))
    assert seconds(found) == {"request": 2, "launch": 5, "boot": 8, "agent": 1, "hydrate": 12,
                              "engine_start": 16, "warm_up": 3}  # fmt: skip
    assert isinstance(found, Arrival)
    assert (found.kind, found.ready_s, found.first_request_s) == ("cold", 47, 77)


def test_a_warm_start_leaves_out_what_came_before_the_pool() -> None:
    """A Running instance's agent has known its launch all the while."""
    launch = Launch("i-1", "warm", T0 + timedelta(seconds=616))
    found = arrival(worker(), told(WARM_RUNNING, T0), launch, T0)
    assert seconds(found) == {"request": 1, "engine_start": 16, "warm_up": 3}


def test_a_warm_start_of_a_stopped_instance_is_its_second_boot() -> None:
    launch = Launch("i-1", "warm", T0 + timedelta(seconds=600))
    found = arrival(worker(), told(COLD, T0 + timedelta(seconds=599)), launch, T0)
    assert isinstance(found, Arrival)
    assert found.begun == T0 + timedelta(seconds=599), "clocks differ by the rounding"
    assert (found.kind, found.ready_s) == ("warm", 45)


@pytest.mark.parametrize(("state", "expected"), [("warmed", "17.0 s"), ("hydrating", "hydrating")])
def test_a_prepared_worker_is_drawn_until_it_waits(state: str, expected: str) -> None:
    phases = WARM_RUNNING[:3] if state == "warmed" else (("launch", 5.0), ("hydrate", None))
    found = arrival(
        worker(lifecycle="Warmed:Running"), told(phases, T0, state), Launch("i-1", "prepared", T0),
        T0 + timedelta(seconds=9),
    )  # fmt: skip
    assert isinstance(found, Arrival)
    assert found.outcome == expected
    assert found.spans[-1] == Span(
        name="hydrate", start_s=5, seconds=12 if state == "warmed" else 4, ended=state == "warmed"
    )


def test_what_goes_on_is_drawn_until_now_and_a_failure_until_it_failed() -> None:
    phases = (("launch", 5.0), ("engine_start", None))
    launch, now = Launch("i-1", "cold", T0), T0 + timedelta(seconds=90)
    assert seconds(arrival(worker(), told(phases, T0, "starting"), launch, now)) == {
        "request": 0, "launch": 5, "engine_start": 85,
    }  # fmt: skip
    failed = arrival(worker(), told(phases, T0, "failed"), launch, now)
    assert seconds(failed)["engine_start"] == 35
    assert isinstance(failed, Arrival)
    assert failed.outcome == "failed"


def test_a_launch_that_aws_has_forgotten_has_no_request() -> None:
    found = arrival(worker(), told(COLD, T0), None, T0)
    assert isinstance(found, Arrival)
    assert (found.kind, found.spans[0].name, found.ready_s) == ("unknown", "launch", 45)


@pytest.mark.parametrize(
    ("lifecycle", "phases", "kind", "expected"),
    [
        ("Warmed:Running", WARM_RUNNING[:3], "cold", "is back in the warm pool"),
        ("InService", (), "cold", "has told no phase yet"),
        ("InService", COLD[:1], "warm", "has told no phase yet"),
    ],
)
def test_where_there_is_nothing_to_draw_it_says_why(
    lifecycle: str, phases: Any, kind: Any, expected: str
) -> None:
    launch = Launch("i-1", kind, T0 + timedelta(hours=1))
    assert arrival(worker(lifecycle=lifecycle), told(phases, T0), launch, T0) == expected


def came(name: str, kind: Any, lengths: list[float], ready: bool = True) -> Arrival:
    spans, at = [], 0.0
    names = ("request", "launch", "boot", "agent", "hydrate", "engine_start", "warm_up")
    for phase, length in zip(names, lengths, strict=False):
        spans.append(Span(name=phase, start_s=at, seconds=length))
        at += length
    return Arrival(
        instance_id=name, fleet="chat", instance_type="g6e.xlarge", kind=kind, state="ready",
        begun=T0, spans=tuple(spans), ready_s=at if ready else None, first_request_s=None,
    )  # fmt: skip


COLD_ONE, WARM_ONE = came("i-0b", "cold", [1, 9, 10]), came("i-0a", "warm", [1, 4])


def test_text_draws_cold_above_warm_on_one_axis() -> None:
    lines = timeline_text.draw([WARM_ONE, COLD_ONE], width=59).splitlines()
    assert lines[4:7] == [
        "i-0b cold |rrllllllllllllllllllbbbbbbbbbbbbbbbbbbbb 20.0 s",
        "i-0a warm |rrllllllll 5.0 s",
        "          |0        |5        |10       |15       |20 s",
    ]
    assert lines[-1] == "median from request to ready: cold 20.0 s, warm 5.0 s (4.0 to 1)"


LENGTHS = st.lists(st.floats(0, 5000), min_size=1, max_size=7)


@given(LENGTHS, st.floats(0.001, 10))
def test_a_bar_is_as_long_as_its_phases_together(lengths: list[float], per_second: float) -> None:
    found = came("i-0a", "cold", lengths)
    drawn = timeline_text.bar(found, per_second)
    assert abs(len(drawn) - sum(lengths) * per_second) <= 0.5 + 1e-6
    assert list(drawn) == sorted(drawn, key="rlbahew".index), "in the order of the phases"


@given(st.floats(0, 200_000), st.integers(2, 12))
def test_an_axis_has_few_round_marks_within_its_end(end: float, most: int) -> None:
    marks = ticks(end, most)
    assert marks[0] == 0
    assert len(marks) <= most or len(marks) == 2
    assert marks[-1] <= end + 0.05


def test_medians_are_compared_only_where_both_kinds_became_ready() -> None:
    assert comparison([COLD_ONE]) is None
    assert comparison([COLD_ONE, came("i-0c", "warm", [1.0], ready=False)]) is None


SVG = "{http://www.w3.org/2000/svg}"


@given(st.lists(st.tuples(st.sampled_from(["cold", "warm"]), LENGTHS), min_size=1, max_size=5))
@example([("cold", [2.2250738585e-313])])
def test_the_svg_keeps_every_bar_inside_the_figure(found: list[tuple[str, list[float]]]) -> None:
    arrivals = [came(f"i-{i}", kind, lengths) for i, (kind, lengths) in enumerate(found)]
    root = ET.fromstring(timeline_svg.draw(arrivals, "a <b> & c"))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    boxes = [rect.attrib for rect in root.iter(f"{SVG}rect") if "x" in rect.attrib]
    assert len(boxes) >= sum(len(one.spans) for one in arrivals)
    for box in boxes:
        assert float(box["x"]) >= 0
        assert float(box["x"]) + float(box["width"]) <= width
        assert float(box["y"]) + float(box["height"]) <= height
    assert root.findtext(f"{SVG}title") == "a <b> & c"


def test_the_svg_is_readable_on_light_and_dark_and_runs_nothing() -> None:
    text = timeline_svg.draw([COLD_ONE, WARM_ONE], "t")
    light, dark = text.split("@media (prefers-color-scheme: dark)")
    for rule in ("text", ".page", ".faint", ".grid"):
        assert re.search(rf"\s{re.escape(rule)} {{", light)
        assert re.search(rf"\s{re.escape(rule)} {{", dark)
    assert "script" not in text
    assert "http://www.w3.org/2000/svg" in text
    assert text.count("http") == 1, "it loads nothing"


def save(tmp_path: Path, name: str, *arrivals: Arrival) -> Path:
    file = tmp_path / name
    document = {"version": 1, "result": Timeline("dev", arrivals, {"i-0z": "is stopped"}).to_json()}
    file.write_text(json.dumps(document))
    return file


def test_saved_readings_are_joined_and_drawn_as_they_were(tmp_path: Path) -> None:
    files = [save(tmp_path, "cold.json", COLD_ONE), save(tmp_path, "warm.json", WARM_ONE)]
    found = load(files, (), None, 100)
    assert found.arrivals == tuple(in_order([COLD_ONE, WARM_ONE]))
    assert load(files, ("i-0a",), "chat", 100).arrivals == (WARM_ONE,)
    found.save_svg(tmp_path / "figure.svg")
    drawn = ET.parse(tmp_path / "figure.svg").getroot()
    assert {"i-0a", "i-0b"} <= {text.text for text in drawn.iter(f"{SVG}text")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "JSONDecodeError"),
        ('{"version": 1, "result": null}', "TypeError"),
        ('{"version": 1, "result": {"environment": "dev"}}', "arrivals"),
        ('{"result": {"environment": "dev", "arrivals": [{"kind": "tepid"}]}}', "0.instance_id"),
    ],
)
def test_a_file_that_is_no_timeline_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(PreconditionError, match=f"x.json is no saved timeline: .*{expected}"):
        load([file], (), None, 100)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="cannot be read: No such file"):
        load([tmp_path / "none.json"], (), None, 100)
    with pytest.raises(PreconditionError, match="i-0q"):
        load([save(tmp_path, "cold.json", COLD_ONE)], ("i-0q",), None, 100)
    with pytest.raises(PreconditionError, match="no worker to draw"):
        Timeline("dev", ()).save_svg(tmp_path / "none.svg")
