"""What a client saw is judged rightly: a soak that calls a lie an answer would prove nothing."""

from __future__ import annotations

import json

import pytest

from benchmarks.soak.outcomes import ACCOUNTED, Ask, Outcome, Seen, judge

ASK = Ask("n1", 2, True, "p")
DOCUMENT = Ask("n1", 2, False, "p")


def events(*numbers: int, nonce: str = "n1") -> bytes:
    return b"".join(
        b"data: " + json.dumps({"nonce": nonce, "number": n}).encode() + b"\n\n" for n in numbers
    )


DONE = b"data: [DONE]\n\n"
FAILED = b'data: {"error":{"message":"m","code":"upstream_failed"}}\n\n'
REFUSAL = b'{"error":{"message":"full","code":"queue_full"}}'
ANSWER = b'{"nonce":"n1","number":2}'

CASES = {
    "a whole stream": (ASK, Seen(200, events(0, 1) + DONE), Outcome.COMPLETE),
    "a whole document": (DOCUMENT, Seen(200, ANSWER), Outcome.COMPLETE),
    "an error event": (ASK, Seen(200, events(0) + FAILED), Outcome.ERROR_EVENT),
    "an error event, then [DONE]": (
        ASK, Seen(200, events(0) + FAILED + DONE), Outcome.DONE_AFTER_ERROR,
    ),
    "a stream without its end": (ASK, Seen(200, events(0, 1)), Outcome.SILENT),
    "no event at all": (ASK, Seen(200, b""), Outcome.SILENT),
    "a stream cut between events": (ASK, Seen(200, events(0), cut=True), Outcome.CUT),
    "a stream cut inside one": (ASK, Seen(200, events(0) + b'data: {"n', cut=True), Outcome.CUT),
    "half an event, ended as if whole": (ASK, Seen(200, events(0) + b"data: {"), Outcome.SILENT),
    "a token missing": (ASK, Seen(200, events(1) + DONE), Outcome.WRONG),
    "[DONE] too early": (ASK, Seen(200, events(0) + DONE), Outcome.WRONG),
    "something after [DONE]": (ASK, Seen(200, events(0, 1) + DONE + events(2)), Outcome.WRONG),
    "another's answer": (ASK, Seen(200, events(0, 1, nonce="n2") + DONE), Outcome.WRONG),
    "another's document": (DOCUMENT, Seen(200, b'{"nonce":"n2","number":2}'), Outcome.WRONG),
    "half a document": (DOCUMENT, Seen(200, ANSWER[:9], cut=True), Outcome.CUT),
    "half a document, as if whole": (DOCUMENT, Seen(200, ANSWER[:9]), Outcome.SILENT),
    "a refusal": (ASK, Seen(429, REFUSAL), Outcome.REFUSED),
    "a refusal without a reason": (ASK, Seen(503, b"oops"), Outcome.UNEXPLAINED),
    "half a refusal": (ASK, Seen(503, REFUSAL, cut=True), Outcome.UNEXPLAINED),
    "an error that is none of the router's": (ASK, Seen(404, REFUSAL), Outcome.UNEXPLAINED),
    "no answer": (ASK, Seen(lost=True, cut=True), Outcome.LOST),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_an_outcome_is_what_the_client_saw(case: str) -> None:
    ask, seen, outcome = CASES[case]
    assert judge(ask, seen) is outcome


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [(Seen(lost=True, cut=True), Outcome.UNREAD),
     (Seen(200, events(0), cut=True), Outcome.PROCESS_KILLED),
     (Seen(200, events(0)), Outcome.SILENT), (Seen(200, events(1) + DONE), Outcome.WRONG)],
)  # fmt: skip
def test_a_killed_process_excuses_a_lost_connection_only(seen: Seen, outcome: Outcome) -> None:
    """What ended as if it were whole stays a lie."""
    assert judge(ASK, seen, killed=True) is outcome


def test_only_explicit_ends_are_accounted_for() -> None:
    lies = {Outcome.SILENT, Outcome.DONE_AFTER_ERROR, Outcome.WRONG, Outcome.UNEXPLAINED,
            Outcome.LOST, Outcome.HANG}  # fmt: skip
    assert set(Outcome) - ACCOUNTED == lies
