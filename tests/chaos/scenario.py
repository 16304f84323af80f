"""A scenario: a fleet, a load, what happens, and what must hold."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from benchmarks.soak.outcomes import Outcome
from tests.chaos.actions import AnyAction, OnWorker, Wait

Kind = Literal["plain", "spot", "warm"]


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Load(Strict):
    """`clients` at a time, each asking again as soon as it is answered, from begin to end."""

    clients: int = Field(default=8, ge=1, le=64)
    tokens: tuple[int, ...] = Field(default=(15, 60, 150), min_length=1)


class Allowed(Strict):
    """What need not be complete. Everything else is a failure.

    `whose`: `victims`, requests that a worker an action was aimed at was answering; `any`, every
    request. `codes`: of a refusal; none of them, no refusal.
    """

    outcome: Literal["error_event", "refused", "cut", "lost", "unexplained"]
    whose: Literal["victims", "any"] = "victims"
    codes: tuple[str, ...] = ()
    at_most: int = Field(default=1_000_000, ge=1)

    @property
    def kind(self) -> Outcome:
        return Outcome[self.outcome.upper()]

    @model_validator(mode="after")
    def _codes_with_refusals(self) -> Allowed:
        if (self.outcome == "refused") != bool(self.codes):
            raise ValueError("`codes` belong to `refused`, and `refused` needs them")
        return self


class Expect(Strict):
    """`workers`: wanted at the end (absent: as at the begin), `victims`: what became of them.

    `grew`: counters of routers or agents that say that it really happened. `struck`: victims had
    been answering requests of the load.
    """

    allowed: tuple[Allowed, ...] = ()
    workers: int | None = Field(default=None, ge=0, le=6)
    victims: Literal["gone", "stay", "any"] = "any"
    converges_in_s: float = Field(default=90.0, gt=0, le=240)
    complete: int = Field(default=10, ge=0)
    grew: tuple[str, ...] = ()
    struck: bool = True


class Scenario(Strict):
    """`alone`: nothing else runs meanwhile; it concerns routers or AWS as a whole.

    `last`: it destroys the stage. `before`: done before the load begins. `concerns`: workers that
    are victims without an action that names them.
    """

    name: str = Field(pattern=r"^[a-z0-9-]{3,48}$")
    promise: str = Field(min_length=10)
    fleet: Kind | Literal["any"] = "any"
    workers: int = Field(default=2, ge=0, le=6)
    alone: bool = False
    last: bool = False
    quick: bool = False
    needs: tuple[Literal["nft", "libfaketime", "root"], ...] = ()
    load: Load = Load()
    concerns: tuple[int, ...] = ()
    before: tuple[AnyAction, ...] = ()
    actions: Annotated[tuple[AnyAction, ...], Field(min_length=1)]
    expect: Expect = Expect()

    @property
    def victims(self) -> tuple[int, ...]:
        """Numbers of the workers that actions are aimed at, or that they concern."""
        every = (*self.before, *self.actions)
        aimed = [getattr(a, "worker", None) for a in every if not isinstance(a, Wait)]
        return tuple(sorted({n for n in aimed if isinstance(n, int)} | {*self.concerns}))

    @property
    def wanted(self) -> int:
        return self.workers if self.expect.workers is None else self.expect.workers

    @model_validator(mode="after")
    def _workers_exist(self) -> Scenario:
        every = (*self.before, *self.actions)
        named = [*(a.worker for a in every if isinstance(a, OnWorker | Wait)), *self.concerns]
        missing = [n for n in named if isinstance(n, int) and n >= self.workers]
        if missing:
            raise ValueError(f"there is no worker {missing[0]} among {self.workers}")
        return self
