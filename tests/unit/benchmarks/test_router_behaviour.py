"""The comparison's table, its page, and the workers and client it rests on."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest

from benchmarks.router.behaviour import MARKER, SCENARIOS, markdown, observe
from benchmarks.router.behaviours.failures import how_it_ended
from benchmarks.router.behaviours.scripted import Reply
from benchmarks.router.behaviours.stage import ROUTERS
from benchmarks.router.page import PAGE, put, write
from benchmarks.router.peers import OURS

needs_two_cores = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2 or not shutil.which("setpriv"),
    reason="needs two cores and setpriv (Linux)",
)


def rows_of_the_page() -> list[str]:
    block = PAGE.read_text().partition(f"{MARKER}: begin")[2].partition("<!--")[0]
    return re.findall(r"^\| ([^|]+) \|", block, re.MULTILINE)


def test_the_page_has_the_rows_that_the_command_writes() -> None:
    """Cells are of the day they were seen; a scenario that joins or goes must show."""
    assert rows_of_the_page() == [scenario.name for scenario in SCENARIOS]


def test_names_of_scenarios_differ_and_fit_into_a_table() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    assert len(set(names)) == len(names)
    assert [name for name in names if "|" in name] == []


def test_the_table_has_a_column_per_router_with_its_version() -> None:
    seen = {"a row": dict.fromkeys(ROUTERS, "x")}
    head, line, row = markdown(seen, ROUTERS).splitlines()
    assert re.fullmatch(r"\| \| sglctl \| sglang-router [\d.]+ \| smg [\d.]+ \|", head)
    assert (line, row) == ("|---|---|---|---|", "| a row | x | x | x |")


def test_a_page_keeps_all_but_what_is_between_its_markers() -> None:
    page = "a\n<!-- compare-router: begin -->\nold\n<!-- compare-router: end -->\nb"
    written = put(page, MARKER, "new")
    assert written == page.replace("old", "new")
    assert put(written, MARKER, "new") == written


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="begin"):
        put("a page", MARKER, "new")


def test_both_commands_find_their_place_in_the_page(tmp_path: Path) -> None:
    copy = tmp_path / "router.md"
    copy.write_text(PAGE.read_text())
    for name in (MARKER, "bench-router"):
        write(name, f"a table of {name}", page=copy)
    text = copy.read_text()
    assert [text.count(f"a table of {name}") for name in (MARKER, "bench-router")] == [1, 1]


@pytest.mark.parametrize(
    ("body", "complete", "expected"),
    [
        (b'data: {"error": {}}\n\n', True, "error event, no [DONE]"),
        (b'data: {"error": {}}\n\ndata: [DONE]\n\n', True, "error event, then [DONE]"),
        (b"data: {}\n\ndata: [DONE]\n\n", True, "[DONE], as if complete"),
        (b"data: {}\n\n", True, "ends as if complete"),
        (b"data: {}\n\n", False, "connection cut, no word"),
    ],
)
def test_how_a_stream_ended_is_told_from_its_bytes(
    body: bytes, complete: bool, expected: str
) -> None:
    assert how_it_ended(Reply(200, {}, body, complete)) == expected


@needs_two_cores
@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("body with an unknown field and odd spacing", "byte for byte"),
        ("two different Content-Lengths", "400, not passed on"),
        ("worker dies mid-stream", "error event, no .DONE."),
        ("client gone before the first token", r"cancelled after \d+ ms"),
    ],
)
def test_a_scenario_tells_what_our_router_does(name: str, pattern: str) -> None:
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == name)
    assert re.fullmatch(pattern, asyncio.run(observe(scenario, OURS)))
