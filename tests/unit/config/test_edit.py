"""`sglctl scale` changes numbers in a file people wrote."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from sglctl.config.edit import edit_capacity
from sglctl.config.loader import load
from sglctl.errors import ConfigError

from .conftest import Change

LOCAL = "environments/local.yaml"
PROD = "environments/prod.yaml"


def _changed_lines(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(keepends=True), after.splitlines(keepends=True))
    return [line for line in lines if line[0] in "+-"]


CASES = [
    (LOCAL, "chat", {"min": 2}, "{min: 1, max: 4, desired: 1}", "{min: 2, max: 4, desired: 2}"),
    (LOCAL, "chat", {"desired": 3}, "desired: 1}", "desired: 3}"),
    (LOCAL, "chat", {"max": 12}, "max: 4", "max: 12"),
    (LOCAL, "chat", {"min": 0, "max": 0}, "{min: 1, max: 4, desired: 1}",
     "{min: 0, max: 0, desired: 0}"),
    (LOCAL, "chat", {"min": 3, "max": 5, "desired": 4}, "{min: 1, max: 4, desired: 1}",
     "{min: 3, max: 5, desired: 4}"),
    (PROD, "chat", {"warm_min": 3}, "      min: 1\n      max_prepared", "      min: 3\n"
     "      max_prepared"),
    (PROD, "chat", {"warm_min": 2, "warm_max_prepared": 3}, "      min: 1\n      max_prepared: 4",
     "      min: 2\n      max_prepared: 3"),
    (PROD, "reason", {"max": 10}, "min: 1, max: 4, desired: 2", "min: 1, max: 10, desired: 2"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "fleet", "wanted", "old", "new"), CASES)
def test_only_the_numbers_change_and_every_other_byte_stays(
    config_dir: Path, file: str, fleet: str, wanted: dict[str, int], old: str, new: str
) -> None:
    """Comments, quotes, order and blank lines are people's."""
    before = (config_dir / file).read_text(encoding="utf-8")
    after = edit_capacity(config_dir / file, fleet, **wanted)
    assert old in before
    assert after == before.replace(old, new, 1)
    assert (config_dir / file).read_text(encoding="utf-8") == before  # nothing was written


def test_odd_layout_survives(changed: Change) -> None:
    """Quotes, alignment, trailing comments, a document end, no final newline."""
    config_dir = changed(
        LOCAL,
        "    capacity: {min: 1, max: 4, desired: 1}\n",
        "    capacity:   # how many é\n        'max':   4      # peak\n\n"
        '        "desired" : 1\n        min: 0x1   # night\n',
    )
    path = config_dir / LOCAL
    before = path.read_text(encoding="utf-8")
    after = edit_capacity(path, "chat", min=2, desired=3)
    assert sorted(_changed_lines(before, after)) == sorted([
        '-         "desired" : 1\n', "-         min: 0x1   # night\n",
        '+         "desired" : 3\n', "+         min: 2   # night\n",
    ])  # fmt: skip
    path.write_text(after, encoding="utf-8")
    capacity = load(config_dir, "local").environment.fleets["chat"].capacity
    assert (capacity.min, capacity.max, capacity.desired) == (2, 4, 3)


def test_windows_line_ends_stay(changed: Change) -> None:
    """The text given back has the line ends of the file."""
    path = changed(LOCAL) / LOCAL
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    after = edit_capacity(path, "chat", desired=2)
    assert after.encode() == path.read_bytes().replace(b"desired: 1", b"desired: 2")


def test_asking_for_what_is_there_changes_nothing(config_dir: Path) -> None:
    """So that `scale` may be run twice."""
    path = config_dir / LOCAL
    assert edit_capacity(path, "chat", min=1, max=4, desired=1) == path.read_text("utf-8")


@pytest.mark.parametrize(
    ("file", "fleet", "wanted", "message"),
    [
        (LOCAL, "caht", {"min": 1}, "there is no fleet 'caht'"),
        (LOCAL, "chat", {"min": 5}, r"local.yaml:22: fleets.chat.capacity.min: 5 is more than max"),
        (LOCAL, "chat", {"desired": 9}, "9 is more than max"),
        (LOCAL, "chat", {"min": -1}, "must be greater than or equal to 0, not -1"),
        (LOCAL, "chat", {"warm_min": 1}, r"fleets.chat.warm_pool.min: is not in the file"),
        (PROD, "chat", {"warm_min": 9}, "4 is less than min"),
        (PROD, "reason", {"max": 0, "min": 0}, "on_demand_base: 1 is more than max"),
    ],
)
def test_a_wrong_wish_is_refused_with_its_place(
    config_dir: Path, file: str, fleet: str, wanted: dict[str, int], message: str
) -> None:
    """Nothing is written, and the message says which number."""
    with pytest.raises(ConfigError, match=message):
        edit_capacity(config_dir / file, fleet, **wanted)
