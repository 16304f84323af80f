"""Workers and requests as policies see them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from sglrouter.policy import Choice, Policy
from sglrouter.wire.body import RequestView


@dataclass
class Worker:
    id: str
    slot: int = 1
    load: int = 0
    backlog: int = 0
    last_chosen: int = 0


def make_workers(count: int) -> list[Worker]:
    return [Worker(f"worker-{n}", n + 1) for n in range(count)]


def view(document: dict[str, Any], session: bytes = b"") -> RequestView:
    return RequestView(
        b"/v1/chat/completions", json.dumps(document).encode(), document, "tiny", session
    )


def chat(*texts: str, **fields: Any) -> dict[str, Any]:
    """A conversation: user and assistant in turn."""
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    return {"model": "tiny", "messages": messages, **fields}


class Fleet:
    """Keeps load and backlog as the router does."""

    def __init__(self, policy: Policy, workers: Iterable[Worker]) -> None:
        self.policy = policy
        self.workers = list(workers)
        self.choices = 0

    def send(self, request: RequestView) -> Choice[Worker]:
        choice = self.policy.choose(request, self.workers)
        self.choices += 1
        choice.worker.last_chosen = self.choices
        choice.worker.load += 1
        choice.worker.backlog += choice.new_tokens
        return choice

    def first_byte(self, choice: Choice[Worker]) -> None:
        choice.worker.backlog -= choice.new_tokens

    def done(self, choice: Choice[Worker]) -> None:
        choice.worker.load -= 1


@pytest.fixture(scope="session")
def kit() -> ModuleType:
    """This module: tests are imported one by one, without a package."""
    return sys.modules[__name__]
