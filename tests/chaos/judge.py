"""Whether a scenario's promise held, from what was seen. Pure.

Every request ends whole or with an error its client can see, every loss is one the scenario
allows, counters are back at zero, the fleet is as wanted, and nothing is left behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.soak.outcomes import Outcome
from tests.chaos.scenario import Allowed, Scenario

#: Failures shown of one kind; the rest are counted.
_SHOWN = 2


@dataclass(frozen=True)
class Request:
    """One request of the load. `began`, `ended`: seconds since the load began.

    `worker`: who answered, empty without an answer. `code`: of a refusal. `detail`: its end.
    """

    outcome: Outcome
    worker: str
    began: float
    ended: float
    code: str = ""
    detail: str = ""


@dataclass
class Evidence:
    """All that was seen of a scenario. The lists of words are empty when all is well.

    `victims`: instances that actions were aimed at. `workers`: instances at the end.
    `grown`: by how much each counter that the scenario names grew. `struck_at`: when the first
    action began, seconds since the load began; None: none did.
    """

    requests: list[Request] = field(default_factory=list)
    victims: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    grown: Mapping[str, float] = field(default_factory=dict)
    struck_at: float | None = None
    failed_actions: list[str] = field(default_factory=list)
    not_converged: list[str] = field(default_factory=list)
    not_at_rest: list[str] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)

    def count(self, *outcomes: Outcome) -> int:
        return sum(request.outcome in outcomes for request in self.requests)


def judge(scenario: Scenario, seen: Evidence) -> list[str]:
    """What did not hold; empty where all did."""
    return [
        *(f"action: {words}" for words in seen.failed_actions),
        *_requests(scenario, seen),
        *_proof(scenario, seen),
        *_workers(scenario, seen),
        *(f"not converged: {words}" for words in seen.not_converged),
        *(f"not at rest: {words}" for words in seen.not_at_rest),
        *(f"left behind: {words}" for words in seen.left_behind),
    ]


def _requests(scenario: Scenario, seen: Evidence) -> list[str]:
    used: dict[int, int] = {}
    wrong: dict[str, list[Request]] = {}
    for request in seen.requests:
        if request.outcome is Outcome.COMPLETE:
            continue
        rule = _rule(scenario.expect.allowed, request, seen.victims)
        if rule is None:
            wrong.setdefault(_words(request), []).append(request)
        else:
            used[rule] = used.get(rule, 0) + 1
    problems = [f"{len(rows)} requests: {words}{_shown(rows)}" for words, rows in wrong.items()]
    for number, times in used.items():
        most = scenario.expect.allowed[number].at_most
        if times > most:
            what = scenario.expect.allowed[number].outcome
            problems.append(f"{times} requests ended with {what}, {most} at most may")
    return problems


def _rule(allowed: Sequence[Allowed], request: Request, victims: Sequence[str]) -> int | None:
    for number, rule in enumerate(allowed):
        of_whom = rule.whose == "any" or request.worker in victims
        if rule.kind is request.outcome and of_whom and (not rule.codes or _coded(rule, request)):
            return number
    return None


def _coded(rule: Allowed, request: Request) -> bool:
    return request.code in rule.codes


def _words(request: Request) -> str:
    return f"{request.outcome} ({request.code})" if request.code else str(request.outcome)


def _shown(rows: Sequence[Request]) -> str:
    shown = [
        f" [{row.began:.1f} to {row.ended:.1f} s, {row.worker or 'no worker'}: {row.detail}]"
        for row in rows[:_SHOWN]
    ]
    return "".join(shown)


def _proof(scenario: Scenario, seen: Evidence) -> list[str]:
    """That there was a load, that it was hit, and that what was meant to happen did."""
    problems = []
    complete = seen.count(Outcome.COMPLETE)
    if complete < scenario.expect.complete:
        problems.append(f"{complete} complete requests, {scenario.expect.complete} at least wanted")
    if seen.struck_at is None:
        problems.append("no action was taken")
    elif scenario.expect.struck:
        problems += [
            f"no request was under way on {victim} when it was hit: nothing is proved"
            for victim in seen.victims
            if not _under_way(seen, victim, seen.struck_at)
        ]
    for name in scenario.expect.grew:
        if seen.grown.get(name, 0) <= 0:
            problems.append(f"{name} did not grow: what was meant to happen did not")
    return problems


def _under_way(seen: Evidence, victim: str, at: float) -> bool:
    return any(r.worker == victim and r.began <= at < r.ended for r in seen.requests)


def _workers(scenario: Scenario, seen: Evidence) -> list[str]:
    problems = []
    if len(seen.workers) != scenario.wanted:
        problems.append(f"{len(seen.workers)} workers at the end, {scenario.wanted} wanted")
    for victim in seen.victims:
        there = victim in seen.workers
        if scenario.expect.victims == "gone" and there:
            problems.append(f"{victim} is still there")
        if scenario.expect.victims == "stay" and not there:
            problems.append(f"{victim} was replaced")
    return problems
