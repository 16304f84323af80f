"""One start of a worker, cut into its phases: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

#: What a phase of the agent's timeline is called in the table; `launch` is dated to whole seconds
#: by EC2, and the request itself is known better.
PHASES = {
    "boot": "first process to agent",
    "agent": "agent starts, reads documents",
    "hydrate": "reads the weights",
    "engine_start": "engine starts",
    "warm_up": "warm-up generations",
}
UNTIL_HOST, UNTIL_ROUTABLE, UNTIL_TOKEN = "group and host", "routers know", "first token"
ROWS = (UNTIL_HOST, *PHASES.values(), UNTIL_ROUTABLE, UNTIL_TOKEN)
_READY = re.compile(r"^(\d+\.\d+) .* -> ready", re.MULTILINE)


@dataclass(frozen=True)
class Seen:
    """What a client saw, in seconds from the request for one more worker."""

    in_service_s: float
    routable_s: float
    first_token_s: float


@dataclass(frozen=True)
class Start:
    """One start. `phases`: row → seconds; they add up to `seen.first_token_s`.

    `pair`: of this number is the cold start that it is compared with.

    `cpu_s`: processor time of its host from the request to the first token; unlike the others
    hardly what else runs on the machine, whose `load_average` was that at the request.
    `timeline` is the agent's; `drawing` is what `sglctl workers timeline --from` draws.
    """

    kind: str
    instance_id: str
    pair: int
    seen: Seen
    phases: Mapping[str, float]
    cpu_s: float
    load_average: float
    timeline: Sequence[Mapping[str, Any]]
    drawing: Mapping[str, Any]


def ready_at(journal: str) -> float:
    """When the worker became ready the last time, from `journalctl --output=short-unix`.

    Raises ValueError where it did not.
    """
    found = _READY.findall(journal)
    if not found:
        raise ValueError("the agent's journal does not say when the worker became ready")
    return float(found[-1])


def phases(
    timeline: Sequence[Mapping[str, Any]], requested_at: float, ready: float, seen: Seen
) -> dict[str, float]:
    """Seconds of each row, of the phases that began after the request.

    The timeline's lengths are exact and its instants are whole seconds; so it is hung up at
    `ready` (like `requested_at` in seconds of the epoch). Rows that did not happen are absent.
    """
    begins, at = {}, ready
    for phase in reversed(timeline):
        if phase["name"] in ("ready", "first_request"):
            continue
        at -= phase["seconds"]
        begins[phase["name"]] = at
    marks = [(name, begins[name]) for name in PHASES if begins.get(name, 0.0) >= requested_at]
    marks.append(("ready", ready))
    rows = {UNTIL_HOST: marks[0][1] - requested_at}
    rows |= {PHASES[name]: end - begin for (name, begin), (_, end) in pairwise(marks)}
    rows[UNTIL_ROUTABLE] = seen.routable_s - (ready - requested_at)
    rows[UNTIL_TOKEN] = seen.first_token_s - seen.routable_s
    return {name: round(seconds, 3) for name, seconds in rows.items()}
