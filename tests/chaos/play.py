"""One scenario from begin to evidence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import aiohttp

from tests.chaos import host, rest
from tests.chaos.actions import Action, Lasting
from tests.chaos.doer import Doer, Undo
from tests.chaos.errors import StageError
from tests.chaos.judge import Evidence, judge
from tests.chaos.load import Clients
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Fleet, Stage
from tests.chaos.view import View

Say = Callable[[str], None]

#: Longest wait until every worker answers somebody, before anything happens.
_FLOWING_S = 30.0
_AT_REST_S = 45.0
_PREPARE_S = 120.0
#: The load goes on for so long after the fleet is as wanted: a late fault would meet it.
_AFTERWARDS_S = 1.0
#: And until as many requests are complete as the scenario wants, at most for so long.
_COMPLETE_S = 20.0


@dataclass
class Played:
    """A verdict: `problems` is empty when all held, `skipped` says why it did not run."""

    scenario: Scenario
    fleet: str = ""
    evidence: Evidence = field(default_factory=Evidence)
    problems: list[str] = field(default_factory=list)
    skipped: str = ""
    seconds: float = 0.0


async def play(stage: Stage, fleet: Fleet, scenario: Scenario, say: Say) -> Played:
    """Run it on a fleet nobody else uses. Never raises for what a scenario did."""
    begun = time.monotonic()
    played = Played(scenario, fleet.name)
    missing = [words for words in map(host.missing, scenario.needs) if words]
    if missing:
        played.skipped = "; ".join(missing)
        return played
    async with aiohttp.ClientSession(trust_env=False) as http:
        one = _Play(stage, fleet, scenario, View(stage, http), played.evidence, say)
        try:
            await one.run()
        except (StageError, *rest.UNANSWERED) as error:
            played.evidence.failed_actions.append(str(error) or repr(error))
    played.problems = judge(scenario, played.evidence)
    played.seconds = time.monotonic() - begun
    return played


class _Play:
    def __init__(
        self, stage: Stage, fleet: Fleet, scenario: Scenario, view: View, seen: Evidence, say: Say
    ) -> None:
        self.stage, self.fleet, self.scenario = stage, fleet, scenario
        self.view, self.seen, self.say = view, seen, say
        self.clients = Clients(stage.url, stage.key, fleet.name, scenario.load)
        self._undo: list[Undo] = []

    async def run(self) -> None:
        doer = await self._prepare()
        before = await self.view.counters(self.fleet, self.scenario.expect.grew)
        load = asyncio.create_task(self.clients.run())
        try:
            await self._flowing(doer)
            await self._act(doer, self.scenario.actions)
            await self._take_back()
            if self.scenario.last:
                await self._converge_without_aws(doer)
            else:
                await self._converge()
            await self._afterwards()
        finally:
            await self._take_back()
            self.clients.stop()
            await load
            self.seen.requests = self.clients.requests
        if not self.scenario.last:
            await self._at_rest(before)

    async def _prepare(self) -> Doer:
        """As many workers as the scenario begins with, and what is done before the load."""
        await self._set(self.scenario.workers)
        await self._replace_worn()
        wanted = partial(rest.not_converged, self.view, self.fleet, self.scenario.workers)
        if wrong := await rest.until_nothing(wanted, _PREPARE_S):
            raise StageError(f"the fleet is not ready to begin: {'; '.join(wrong)}")
        doer = await self._numbered()
        if self.scenario.before:
            await self._act(doer, self.scenario.before)
            if wrong := await rest.until_nothing(wanted, _PREPARE_S):
                raise StageError(f"not ready after `before`: {'; '.join(wrong)}")
        return doer

    async def _set(self, workers: int) -> None:
        group = await self.view.group(self.fleet.group)
        if group.desired != workers:
            await asyncio.to_thread(
                self.view.groups.set_desired_capacity,
                AutoScalingGroupName=self.fleet.group, DesiredCapacity=workers,
            )  # fmt: skip

    async def _replace_worn(self) -> None:
        """No scenario begins with another one's traces.

        An engine that was restarted would soon be a crash loop, a drained worker stays drained.
        """
        for one in await self.view.hosts():
            if one.fleet != self.fleet.name or one.lifecycle != "InService":
                continue
            drained = (await self.view.agent(one.address))["state"] in ("draining", "drained")
            if drained or await self.view.engine_starts(one.address) > 1:
                await asyncio.to_thread(
                    self.view.groups.terminate_instance_in_auto_scaling_group,
                    InstanceId=one.instance_id, ShouldDecrementDesiredCapacity=False,
                )  # fmt: skip

    async def _numbered(self) -> Doer:
        hosts = await self.view.hosts()
        serving = set((await self.view.group(self.fleet.group)).in_service())
        workers = [(h.instance_id, h.address) for h in hosts if h.instance_id in serving]
        routers = [(h.instance_id, h.address) for h in hosts if h.role == "router"]
        self.seen.victims = tuple(sorted(workers)[n][0] for n in self.scenario.victims)
        return Doer(self.view, self.fleet, sorted(workers), sorted(routers))

    async def _flowing(self, doer: Doer) -> None:
        """Every worker is answering somebody."""
        workers = {name for name, _ in doer.workers}

        async def look() -> list[str]:
            return [f"{name} answers nobody" for name in sorted(workers - self.clients.busy())]

        if wrong := await rest.until_nothing(look, _FLOWING_S):
            raise StageError("; ".join(wrong))

    async def _act(self, doer: Doer, todo: Sequence[Action]) -> None:
        begun, ending = time.monotonic(), list[asyncio.Task[None]]()
        try:
            for action in sorted(todo, key=lambda one: one.at):
                await asyncio.sleep(max(0.0, begun + action.at - time.monotonic()))
                if todo is self.scenario.actions and self.seen.struck_at is None:
                    self.seen.struck_at = self.clients.now()
                if (task := await self._one(doer, action)) is not None:
                    ending.append(task)
            await asyncio.gather(*ending)
        finally:
            for task in ending:
                task.cancel()

    async def _one(self, doer: Doer, action: Action) -> asyncio.Task[None] | None:
        """Do it; the task that takes it back, where it says when."""
        self.say(f"{self.scenario.name}: {_words(action)}")
        undo = await doer.do(action)
        if undo is None:
            return None
        self._undo.append(undo)
        if isinstance(action, Lasting) and action.for_s:
            return asyncio.create_task(self._end(undo, action.for_s))
        return None

    async def _end(self, undo: Undo, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self._undo.remove(undo)
        await undo()  # what fails here fails `_act`

    async def _take_back(self) -> None:
        """What is still in force, latest first. One that fails does not keep the others."""
        while self._undo:
            undo = self._undo.pop()
            try:
                await undo()
            except (StageError, *rest.UNANSWERED) as error:
                self.seen.failed_actions.append(f"not taken back: {error!r}")

    async def _afterwards(self) -> None:
        async def look() -> list[str]:
            missing = self.scenario.expect.complete - len(self.clients.complete())
            return [f"{missing} more to complete"] if missing > 0 else []

        await asyncio.sleep(_AFTERWARDS_S)
        await rest.until_nothing(look, _COMPLETE_S)

    async def _converge(self) -> None:
        within = self.scenario.expect.converges_in_s
        self.seen.not_converged = await rest.until_nothing(self._not_converged, within)
        if self.scenario.alone:
            routers = partial(rest.routers_wrong, self.view, 2)
            self.seen.not_converged += await rest.until_nothing(routers, within)
        self.seen.workers = tuple((await self.view.group(self.fleet.group)).in_service())

    async def _converge_without_aws(self, doer: Doer) -> None:
        """Only agents and routers can be asked: every router chooses from all the workers."""
        wanted = sorted(name for name, _ in doer.workers)
        routers = [address for _, address in doer.routers]
        look = partial(rest.not_chosen, self.view, self.fleet, routers, wanted)
        within = self.scenario.expect.converges_in_s
        self.seen.not_converged = await rest.until_nothing(look, within)
        self.seen.workers = () if self.seen.not_converged else tuple(wanted)

    async def _not_converged(self) -> list[str]:
        if self.scenario.expect.victims == "gone":
            there = {h.instance_id for h in await self.view.hosts()} & {*self.seen.victims}
            if there:
                return [f"{name} is still there" for name in sorted(there)]
        return await rest.not_converged(self.view, self.fleet, self.scenario.wanted)

    async def _at_rest(self, before: dict[str, float]) -> None:
        quiet = partial(rest.not_at_rest, self.view, self.fleet)
        self.seen.not_at_rest = await rest.until_nothing(quiet, _AT_REST_S)
        alone = partial(rest.left_behind, self.view, self.fleet)
        self.seen.left_behind = await rest.until_nothing(alone, _AT_REST_S)
        after = await self.view.counters(self.fleet, self.scenario.expect.grew)
        self.seen.grown = {name: after[name] - before[name] for name in before}


def _words(action: Action) -> str:
    given = action.model_dump(exclude_defaults=True, exclude={"at", "do"})
    told = ", ".join(f"{key} {str(value)[:60]}" for key, value in given.items())
    return f"{action.model_dump()['do']}{f' ({told})' if told else ''}"
