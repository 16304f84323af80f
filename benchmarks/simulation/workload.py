"""Workloads as data: what conversations arrive, and at which workers. Pure but for reading files.

Two kinds of file. YAML describes a generator (see `Workload`). JSON lines are a trace in the format
of Mooncake's published ones (github.com/kvcache-ai/Mooncake, FAST25-release/traces): `timestamp`
in ms, `input_length`, `output_length`, `hash_ids`: one id per 512 tokens of the prompt, equal ids
for equal prefixes.
"""

from __future__ import annotations

import bisect
import itertools
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field

from sglrouter.policy.prompt import BLOCK_ENDS, BYTES_PER_TOKEN, Prompt

#: Granularity of the engines' caches in the simulation.
ENGINE_BLOCK_TOKENS = 128
TRACE_BLOCK_TOKENS = 512
_MASK = (1 << 64) - 1
_MOST_TURNS = 31


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WorkerGroup(_Part):
    """Like workers. An output token takes `itl_s` + `itl_per_request_s` for each request on it."""

    count: Annotated[int, Field(ge=1)] = 1
    prefill_tokens_per_s: Annotated[float, Field(gt=0)] = 14_000
    overhead_s: float = 0.004
    itl_s: float = 0.012
    itl_per_request_s: float = 0.00015
    cache_tokens: Annotated[int, Field(ge=1)] = 220_000
    from_s: float = 0.0
    until_s: float = math.inf


class Shared(_Part):
    """Texts that conversations begin with, drawn by Zipf's law with this exponent."""

    count: Annotated[int, Field(ge=1)] = 1
    zipf: float = 1.0
    tokens: tuple[int, int] = (0, 0)


class Clients(_Part):
    """Conversations arrive at `per_s` (Poisson). Texts' lengths are log-normal around these
    medians, outputs and pauses exponential around these means."""

    conversations: Annotated[int, Field(ge=1)]
    per_s: Annotated[float, Field(gt=0)]
    systems: Shared
    documents: Shared | None = None
    turns: Annotated[float, Field(ge=1)] = 1
    first_tokens: int = 200
    user_tokens: int = 120
    output_tokens: float = 200
    pause_s: Annotated[float, Field(gt=0)] = 20


class Workload(_Part):
    """One file. `tuned_on`: whether the policies' constants were chosen while looking at it."""

    name: str
    about: str
    tuned_on: bool
    workers: tuple[WorkerGroup, ...]
    clients: Clients | None = None
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class Turn:
    """`user` tokens are new in the prompt, `output` are generated, then the client pauses."""

    user: int
    output: int
    pause_s: float


@dataclass(slots=True)
class Conversation:
    """Its text is fixed from the start: turns only show more of it.

    `pieces`: (chain, end) of shared beginnings, `end` in tokens; after them the text is its own.
    Equal chains mean equal text up to there.
    """

    id: int
    start_s: float
    pieces: Sequence[tuple[int, int]]
    turns: Sequence[Turn]
    _engine: list[int] = field(default_factory=list)
    _router: list[int] = field(default_factory=list)

    @property
    def shared_tokens(self) -> int:
        return self.pieces[-1][1] if self.pieces else 0

    def _block(self, n: int, end: int, kind: int) -> int:
        at = bisect.bisect_left(self.pieces, end, key=lambda piece: piece[1])
        chain = self.pieces[at][0] if at < len(self.pieces) else ~self.id
        return hash((kind, chain, n)) & _MASK

    def engine_blocks(self, tokens: int) -> list[int]:
        """Ids of the full engine blocks in the first `tokens`."""
        count = tokens // ENGINE_BLOCK_TOKENS
        for n in range(len(self._engine), count):
            self._engine.append(self._block(n, (n + 1) * ENGINE_BLOCK_TOKENS, 0))
        return self._engine[:count]

    def prompt(self, tokens: int) -> Prompt:
        """What the router's policy sees of the first `tokens`."""
        count = bisect.bisect_right(BLOCK_ENDS, tokens * BYTES_PER_TOKEN)
        for n in range(len(self._router), count):
            self._router.append(self._block(n, BLOCK_ENDS[n] // BYTES_PER_TOKEN, 1) | 1)
        return Prompt(tokens, self._router[:count], hash((2, self.id)) & _MASK)


def _zipf(shared: Shared) -> list[float]:
    return list(itertools.accumulate(1 / (n + 1) ** shared.zipf for n in range(shared.count)))


def _draw(rng: random.Random, cumulative: Sequence[float]) -> int:
    return bisect.bisect(cumulative, rng.random() * cumulative[-1])


def _turn(rng: random.Random, median: int, clients: Clients) -> Turn:
    user = 8 + int(min(16_000, rng.lognormvariate(math.log(median), 0.9)))
    output = 8 + int(min(2_000, rng.expovariate(1 / clients.output_tokens)))
    return Turn(user, output, rng.expovariate(1 / clients.pause_s))


def generate(clients: Clients, seed: int) -> Iterator[Conversation]:
    """Conversations in order of their start."""
    rng = random.Random(seed)  # noqa: S311 - a workload, not a secret
    kinds = [kind for kind in (clients.systems, clients.documents) if kind is not None]
    lengths = [[int(rng.uniform(*kind.tokens)) for _ in range(kind.count)] for kind in kinds]
    odds = [_zipf(kind) for kind in kinds]
    now = 0.0
    for number in range(clients.conversations):
        now += rng.expovariate(clients.per_s)
        pieces: list[tuple[int, int]] = []
        chain = end = 0
        for kind in range(len(kinds)):
            which = _draw(rng, odds[kind])
            chain, end = hash((chain, kind, which)) & _MASK, end + lengths[kind][which]
            pieces.append((chain, end))
        extra = int(rng.expovariate(1 / (clients.turns - 1))) if clients.turns > 1 else 0
        medians = [clients.first_tokens] + [clients.user_tokens] * min(extra, _MOST_TURNS - 1)
        turns = [_turn(rng, median, clients) for median in medians]
        yield Conversation(number, now, pieces, turns)


def read_trace(path: Path) -> Iterator[Conversation]:
    """One single-turn conversation per line, at its own time."""
    for number, line in enumerate(path.read_text().splitlines()):
        if not line.strip():
            continue
        item = json.loads(line)
        pieces: list[tuple[int, int]] = []
        chain = 0
        for n, block in enumerate(item["hash_ids"], 1):
            chain = hash((chain, block)) & _MASK
            pieces.append((chain, min(n * TRACE_BLOCK_TOKENS, item["input_length"])))
        turn = Turn(
            item["input_length"] - (pieces[-1][1] if pieces else 0), item["output_length"], 1
        )
        yield Conversation(number, item["timestamp"] / 1000, pieces, [turn])


def load(path: Path, workers: int) -> tuple[Workload, list[list[Conversation]]]:
    """A file's workload, and its conversations once per seed. `workers`: how many serve a trace.

    Raises OSError, ValueError (pydantic's errors are ones).
    """
    if path.suffix == ".jsonl":
        group = WorkerGroup(count=workers)
        about = f"trace, {workers} workers"
        workload = Workload(name=path.stem, about=about, tuned_on=False, workers=(group,))
        return workload, [list(read_trace(path))]
    try:
        workload = Workload.model_validate(yaml.safe_load(path.read_text()))
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from error
    if workload.clients is None:
        raise ValueError("no `clients`")
    return workload, [list(generate(workload.clients, seed)) for seed in workload.seeds]
