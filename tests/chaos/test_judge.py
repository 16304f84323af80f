"""The judge finds each single thing that is wrong: one that cannot fail would prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.soak.outcomes import Outcome
from tests.chaos.judge import Evidence, Request, judge
from tests.chaos.scenario import Scenario

VICTIM, OTHER, NEW = "i-victim", "i-other", "i-new"
SCENARIO: dict[str, Any] = {
    "name": "engine-killed",
    "promise": "Only what it answered ends.",
    "actions": [{"do": "signal", "worker": 0, "service": "engine"}],
    "expect": {
        "complete": 2,
        "victims": "gone",
        "grew": ["retries"],
        "allowed": [
            {"outcome": "error_event", "at_most": 2},
            {"outcome": "refused", "whose": "any", "codes": ["no_ready_worker"]},
        ],
    },
}
LOST = Request(Outcome.ERROR_EVENT, VICTIM, 0.5, 2.0)
REFUSED = Request(Outcome.REFUSED, "", 1.0, 1.1, "no_ready_worker")


def scenario(**expect: Any) -> Scenario:
    return Scenario.model_validate({**SCENARIO, "expect": {**SCENARIO["expect"], **expect}})


def well() -> Evidence:
    """All that the scenario promises, and all that it allows."""
    return Evidence(
        requests=[
            Request(Outcome.COMPLETE, VICTIM, 0.0, 0.9),
            Request(Outcome.COMPLETE, OTHER, 0.0, 3.0),
            LOST,
            REFUSED,
        ],
        victims=(VICTIM,),
        workers=(OTHER, NEW),
        grown={"retries": 1.0},
        struck_at=1.0,
    )


def with_request(**changed: Any) -> Callable[[Evidence], None]:
    return lambda seen: seen.requests.append(replace(LOST, **changed))


def set_to(**changed: Any) -> Callable[[Evidence], None]:
    def change(seen: Evidence) -> None:
        for name, value in changed.items():
            setattr(seen, name, value)

    return change


def three_lost(seen: Evidence) -> None:
    seen.requests += [LOST, LOST]


FAULTS: dict[str, tuple[Callable[[Evidence], None], str]] = {
    **{
        f"a request that ended as {outcome.name}": (
            with_request(outcome=outcome), f"1 requests: {outcome}",
        )
        for outcome in Outcome
        if outcome not in (Outcome.COMPLETE, Outcome.ERROR_EVENT)
    },
    "an error event from a worker that nothing was done to": (with_request(worker=OTHER), "1 req"),
    "an error event from nobody": (with_request(worker=""), "no worker"),
    "more losses than are allowed": (three_lost, "3 requests ended with error_event, 2 at most"),
    "a refusal for another reason": (
        lambda seen: seen.requests.append(replace(REFUSED, code="queue_full")), "queue_full",
    ),
    "too few complete requests": (
        lambda seen: seen.requests.remove(Request(Outcome.COMPLETE, OTHER, 0.0, 3.0)),
        "1 complete requests, 2 at least",
    ),
    "no load at all": (set_to(requests=[]), "0 complete requests"),
    "an action that never happened": (set_to(struck_at=None), "no action was taken"),
    "a victim that was idle when it was hit": (set_to(struck_at=2.5), "nothing is proved"),
    "a counter that did not grow": (set_to(grown={"retries": 0.0}), "retries did not grow"),
    "a counter that nobody has": (set_to(grown={}), "retries did not grow"),
    "an action that failed": (set_to(failed_actions=["vanish: 400"]), "action: vanish: 400"),
    "a fleet that is not as wanted": (set_to(not_converged=["desired is 3"]), "not converged"),
    "a worker too few": (set_to(workers=(OTHER,)), "1 workers at the end, 2 wanted"),
    "a worker too many": (set_to(workers=(OTHER, NEW, "i-more")), "3 workers at the end"),
    "a victim that is still there": (set_to(workers=(OTHER, VICTIM)), "is still there"),
    "counters that are not zero": (set_to(not_at_rest=["agent in_flight 1"]), "not at rest"),
    "something left behind": (set_to(left_behind=["host i-old"]), "left behind: host i-old"),
}  # fmt: skip


def test_what_a_scenario_promises_and_allows_is_held() -> None:
    assert judge(scenario(), well()) == []


@pytest.mark.parametrize("name", FAULTS)
def test_one_thing_wrong_is_one_problem(name: str) -> None:
    change, words = FAULTS[name]
    seen = well()
    change(seen)
    found = judge(scenario(), seen)
    assert any(words in problem for problem in found), found


def test_a_victim_that_should_stay_must_not_be_replaced() -> None:
    assert judge(scenario(victims="stay"), well()) == [f"{VICTIM} was replaced"]


def test_a_scenario_without_allowances_wants_every_request_complete() -> None:
    found = judge(scenario(allowed=[]), well())
    assert [problem.partition(" [")[0] for problem in found] == [
        f"1 requests: {Outcome.ERROR_EVENT}",
        f"1 requests: {Outcome.REFUSED} (no_ready_worker)",
    ]


@given(st.lists(st.sampled_from(list(Outcome)), min_size=1))
def test_no_mix_of_outcomes_hides_a_silent_one(others: list[Outcome]) -> None:
    seen = well()
    seen.requests += [replace(LOST, outcome=outcome) for outcome in others]
    seen.requests.append(replace(LOST, outcome=Outcome.SILENT))
    assert any(str(Outcome.SILENT) in problem for problem in judge(scenario(), seen))
