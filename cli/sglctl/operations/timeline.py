"""Read how workers came into service, from AWS and their agents or from a saved reading."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sglctl.aws.fleet_state import activities
from sglctl.aws.session import Session
from sglctl.context import Context
from sglctl.core import timeline_svg, timeline_text
from sglctl.core.timeline import Arrival, Launch, arrival, in_order, launch_of
from sglctl.core.workers import Worker, choose
from sglctl.errors import PreconditionError, SglctlError
from sglctl.operations.workers import STATE, Fleets, complaint, open_fleets
from sglctl.output import say
from sglworker.models import WorkerState

_STATE_TIMEOUT_S = 10.0
_PARALLEL = 8
#: How long AWS keeps activities.
_KEPT = timedelta(weeks=6)
_ARRIVALS = TypeAdapter(tuple[Arrival, ...])


@dataclass(frozen=True)
class Timeline:
    """`untold`: workers with nothing to draw, and why."""

    environment: str
    arrivals: tuple[Arrival, ...]
    untold: Mapping[str, str] = field(default_factory=dict)
    width: int = 100

    def to_json(self) -> dict[str, Any]:
        return {
            "environment": self.environment,
            "arrivals": [one.model_dump(mode="json") for one in self.arrivals],
            "untold": dict(self.untold),
        }

    def to_text(self) -> str:
        drawn = timeline_text.draw(self.arrivals, self.width)
        missing = [f"{name} {why}" for name, why in self.untold.items()]
        return "\n".join([drawn, *missing] if drawn else missing) or "No workers."

    def save_svg(self, file: Path) -> None:
        """Write the figure. Raises PreconditionError: nothing to draw, or no such folder."""
        if not self.arrivals:
            raise PreconditionError("no worker to draw", hint="; ".join(self.to_text().split("\n")))
        text = timeline_svg.draw(
            self.arrivals, f"Workers of {self.environment}, from the request on"
        )
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise PreconditionError(f"{file} cannot be written: {error.strerror}") from error
        say(f"{file} written.")


def read(context: Context, ids: Sequence[str], fleet: str | None, width: int) -> Timeline:
    """Ask AWS and the agents. Raises PreconditionError for an unknown worker or fleet."""
    fleets = open_fleets(context)
    chosen = _chosen(fleets, ids, fleet)
    told = _told(fleets, chosen)
    launches = _launches(fleets.session, chosen)
    now = datetime.now(UTC)
    arrivals, untold = [], {}
    for worker in chosen:
        state = told[worker.instance_id]
        found = (
            state
            if isinstance(state, str)
            else arrival(worker, state, launches.get(worker.instance_id), now)
        )
        if isinstance(found, str):
            untold[worker.instance_id] = found
        else:
            arrivals.append(found)
    return Timeline(context.environment, tuple(in_order(arrivals)), untold, width)


def _chosen(fleets: Fleets, ids: Sequence[str], fleet: str | None) -> list[Worker]:
    found = fleets.listed()
    known = {worker.fleet for worker in found} | set(fleets.desired.environment.fleets)
    if fleet is not None and fleet not in known:
        raise PreconditionError(
            f"{fleets.context.environment} has no fleet {fleet!r}",
            hint=f"--fleet with one of: {', '.join(sorted(known))}",
        )
    chosen = choose(found, ids, fleets.context.environment) if ids else found
    return [worker for worker in chosen if fleet in (None, worker.fleet)]


def _told(fleets: Fleets, workers: Sequence[Worker]) -> dict[str, WorkerState | str]:
    """Each agent's state document, or why there is none."""

    def ask(worker: Worker) -> WorkerState | str:
        if worker.agent.state == "stopped":
            return "is stopped in the warm pool"
        name = worker.instance_id
        try:
            result = fleets.commands.run([name], STATE, timeout_s=_STATE_TIMEOUT_S)[name]
            if not result.ok:
                return f"does not answer: {complaint(result)}"
            return WorkerState.model_validate_json(result.stdout)
        except SglctlError as error:
            return f"does not answer: {error.message}"
        except ValidationError as error:
            return f"told what cannot be read: {error.errors(include_url=False)[0]['msg']}"

    with ThreadPoolExecutor(_PARALLEL) as pool:
        answers = pool.map(ask, workers)
        return {worker.instance_id: said for worker, said in zip(workers, answers, strict=True)}


def _launches(session: Session, workers: Iterable[Worker]) -> dict[str, Launch]:
    """Each worker's newest launch; a group is read until all of its workers' are found."""
    wanted: dict[str, set[str]] = {}
    for worker in workers:
        wanted.setdefault(worker.group, set()).add(worker.instance_id)
    found: dict[str, Launch] = {}
    for group, missing in wanted.items():
        for raw in activities(session, group, datetime.now(UTC) - _KEPT):
            launch = launch_of(raw)
            if launch is not None and launch.instance_id in missing:
                found[launch.instance_id] = launch
                missing.remove(launch.instance_id)
            if not missing:
                break
    return found


def load(files: Sequence[Path], ids: Sequence[str], fleet: str | None, width: int) -> Timeline:
    """Saved `--output json` of this command, joined: cold from one run, warm from another.

    Raises PreconditionError: no such file, not what this command prints, no such worker.
    """
    names, arrivals, untold = [], dict[tuple[str, datetime], Arrival](), dict[str, str]()
    for file in files:
        saved = _saved(file)
        names.append(str(saved["environment"]))
        untold |= saved.get("untold", {})
        arrivals |= {(one.instance_id, one.begun): one for one in saved["arrivals"]}
    there = {one.instance_id for one in arrivals.values()} | set(untold)
    if unknown := [name for name in ids if name not in there]:
        raise PreconditionError(f"not in {', '.join(map(str, files))}: {' '.join(unknown)}")
    kept = [
        one
        for one in arrivals.values()
        if fleet in (None, one.fleet) and (not ids or one.instance_id in ids)
    ]
    return Timeline(", ".join(dict.fromkeys(names)), tuple(in_order(kept)), untold, width)


def _saved(file: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["result"]
        return {**result, "arrivals": _ARRIVALS.validate_python(result["arrivals"])}
    except OSError as error:
        raise PreconditionError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise PreconditionError(
            f"{file} is no saved timeline: {_first_line(error)}",
            hint="save one: sglctl workers timeline --output json > FILE",
        ) from error


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{type(error).__name__}: {error}"
