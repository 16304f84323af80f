"""A call whose answer was lost is answered again, not made again."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from sglocal.aws.attempts import KEPT_ANSWERS, Attempts


class Calls:
    """An endpoint that counts what reaches it, and refuses what it is told to."""

    def __init__(self, status: str = "200 OK") -> None:
        self.status = status
        self.made = 0
        self.release = threading.Event()
        self.release.set()
        self.entered = threading.Event()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.made += 1
        number = self.made
        self.entered.set()
        self.release.wait(10)
        start(self.status, [("X-Number", str(number))])
        return [f"answer {number}".encode()]


def ask(app: Attempts, invocation: str, number: int, service: str = "ec2") -> tuple[str, bytes]:
    """Status and body of one attempt of a call."""
    seen: list[str] = []
    scope = f"AWS4-HMAC-SHA256 Credential=test/20261121/us-east-1/{service}/aws4_request, X"
    body = b"Action=AuthorizeSecurityGroupIngress"
    environ = {
        "HTTP_AUTHORIZATION": scope,
        "HTTP_AMZ_SDK_INVOCATION_ID": invocation,
        "HTTP_AMZ_SDK_REQUEST": f"attempt={number}; max=25",
        "CONTENT_TYPE": "application/x-www-form-urlencoded",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    answer = b"".join(app(environ, lambda status, headers: seen.append(status)))
    return seen[0], answer


@pytest.mark.parametrize(
    ("status", "service", "expected"),
    [
        ("200 OK", "ec2", [b"answer 1", b"answer 1"]),
        ("503 Service Unavailable", "ec2", [b"answer 1", b"answer 2"]),
        ("400 Bad Request", "ec2", [b"answer 1", b"answer 2"]),
        ("200 OK", "s3", [b"answer 1", b"answer 2"]),
    ],
    ids=["what succeeded is not made again", "unavailable is", "refused is", "S3 is"],
)
def test_a_second_attempt(status: str, service: str, expected: list[bytes]) -> None:
    app = Attempts(Calls(status))
    assert [ask(app, "a", number, service)[1] for number in (1, 2)] == expected


def test_the_first_attempt_of_another_call_is_made() -> None:
    app = Attempts(Calls())
    assert [ask(app, call, 1)[1] for call in "ab"] == [b"answer 1", b"answer 2"]


def test_a_second_attempt_waits_for_the_first_that_is_still_being_made() -> None:
    calls = Calls()
    calls.release.clear()
    app = Attempts(calls)
    answers: list[bytes] = []
    threads = [
        threading.Thread(target=lambda number=number: answers.append(ask(app, "a", number)[1]))
        for number in (1, 2)
    ]
    threads[0].start()
    assert calls.entered.wait(10)
    threads[1].start()
    calls.release.set()
    for thread in threads:
        thread.join(10)
    assert answers == [b"answer 1", b"answer 1"]


def test_a_refusal_is_logged_with_the_call_and_the_attempt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("INFO"):
        ask(Attempts(Calls("400 Bad Request")), "a", 3)
    assert caplog.messages == [
        "ec2 AuthorizeSecurityGroupIngress, attempt 3: 400 Bad Request: answer 1"
    ]


def test_old_answers_make_room() -> None:
    app = Attempts(Calls())
    for number in range(KEPT_ANSWERS + 1):
        ask(app, str(number), 1)
    assert ask(app, "0", 2)[1] == f"answer {KEPT_ANSWERS + 2}".encode()
