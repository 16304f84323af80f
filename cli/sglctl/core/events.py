"""Who did what when: sglctl's audit log and Auto Scaling's activities, as one list. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN = re.compile(r"(\d+)([smhd])")
#: Of an audit line, what has a column of its own or tells a reader nothing.
_NOT_DETAIL = frozenset(
    {"time", "who", "environment", "action", "outcome", "seconds", "digest", "account", "emulated"}
)
#: Causes begin every sentence with "At 2026-11-21T10:00:00Z", which the time says already.
_AT = re.compile(r"\bAt \d{4}-\d\d-\d\dT[\d:]+Z,? ?")


@dataclass(frozen=True)
class Event:
    """`source`: `sglctl` or `scaling`. `who`: a person at a machine, or the group that acted.
    `key` tells events apart; a scaling activity is another event once its outcome changes."""

    at: datetime
    source: str
    who: str
    what: str
    outcome: str
    detail: str
    key: str

    def to_json(self) -> dict[str, Any]:
        return {
            "time": self.at.isoformat(timespec="seconds"), "source": self.source, "who": self.who,
            "what": self.what, "outcome": self.outcome, "detail": self.detail,
        }  # fmt: skip

    def to_text(self) -> str:
        told = f": {self.detail}" if self.detail else ""
        time = self.at.strftime("%Y-%m-%d %H:%M:%S")
        return f"{time}  {self.who}  {self.what}  [{self.outcome}]{told}"


def of_audit(line: Mapping[str, Any], key: str) -> Event:
    """One line of `audit.jsonl`, written when the change ended. Raises KeyError, ValueError."""
    at = datetime.fromisoformat(str(line["time"]))
    if at.tzinfo is None:
        raise ValueError(f"a time without zone: {line['time']}")
    detail = ", ".join(f"{k} {_plain(v)}" for k, v in line.items() if k not in _NOT_DETAIL)
    took = f"{line['outcome']} in {line.get('seconds', 0)} s"
    return Event(at, "sglctl", str(line["who"]), str(line["action"]), took, detail, key)


def of_activity(raw: Mapping[str, Any]) -> Event:
    """https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Activity.html"""
    outcome = str(raw["StatusCode"])
    cause = _AT.sub("", str(raw.get("Cause", ""))).strip()
    detail = "; ".join(text for text in (raw.get("StatusMessage"), cause) if text)
    return Event(
        raw["StartTime"].astimezone(UTC), "scaling", str(raw["AutoScalingGroupName"]),
        str(raw.get("Description", "")), outcome, detail, f"{raw['ActivityId']} {outcome}",
    )  # fmt: skip


def in_order(events: Iterable[Event], since: datetime) -> list[Event]:
    """Those not before `since`, newest last; at the same second in the order given."""
    return sorted((event for event in events if event.at >= since), key=lambda event: event.at)


def parse_since(text: str, now: datetime) -> datetime:
    """`90s`, `30m`, `2h`, `7d` before `now`, or an ISO time (without zone: UTC).

    Raises ValueError.
    """
    if span := _SPAN.fullmatch(text.strip()):
        try:
            return now - timedelta(seconds=int(span[1]) * _UNITS[span[2]])
        except OverflowError as error:
            raise ValueError(f"{text} is longer ago than time began") from error
    found = datetime.fromisoformat(text.strip())
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _plain(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
