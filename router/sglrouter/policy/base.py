"""What a policy sees and what it answers. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from sglrouter.inner.work import Busy
from sglrouter.models import PolicyName
from sglrouter.policy.prompt import Prompt


class Request(Protocol):
    """A request as policies see it (`wire.body.RequestView` is one).

    `session`: the session header's value, empty without one; `document`: the parsed body.
    """

    @property
    def prompt(self) -> Prompt: ...
    @property
    def session(self) -> bytes: ...
    @property
    def document(self) -> Mapping[str, Any] | None: ...


class Candidate(Busy, Protocol):
    """A worker that may be chosen.

    `slot`: small number of its own while it lives; `load`: requests on it, ours and others';
    `backlog`: prompt tokens sent to it that have not had a first byte and were not cached;
    `last_chosen`: the number of the choice that last fell on it, 0 for never.
    """

    @property
    def id(self) -> str: ...


C = TypeVar("C", bound=Candidate)


@dataclass(slots=True)
class Choice(Generic[C]):
    """The chosen worker, why (a metric's label), and what is thought to be cached there.

    `new_tokens` is what the caller adds to the worker's backlog until the first byte.
    """

    worker: C
    reason: str
    cached_tokens: int = 0
    new_tokens: int = 0


class Policy(Protocol):
    name: PolicyName
    alone: bool  # no other router chooses for the same workers; kept true by the caller

    def choose(self, request: Request, workers: Sequence[C]) -> Choice[C]:
        """One of `workers`, which is never empty."""

    def first_byte(self, slot: int, new: int, cached: int, ahead: int, seconds: float) -> None:
        """The worker in `slot` began a stream, `seconds` after it was sent the request.

        `new`, `cached`: what the choice thought of its prompt, in tokens; `ahead`: the worker's
        backlog before it.
        """

    def forget(self, slot: int) -> None:
        """The worker is gone: free what was kept about it."""

    def sweep(self) -> None:
        """A slice of house-keeping; called about four times a second."""

    def statistics(self) -> Mapping[str, float]:
        """What the admin listener shows."""
