from collections.abc import Mapping, Sequence

from sglrouter.inner.ending import Buckets, Cells, Used
from sglrouter.inner.form import Read
from sglrouter.inner.work import B

class Form:
    def __init__(
        self,
        texts: tuple[bytes, ...],
        pieces: tuple[bytes, ...],
        places: tuple[int, ...],
        length_at: int,
        /,
    ) -> None: ...
    def read(self, data: bytes, /) -> Read | None: ...

class Tally:
    def __init__(self, cells: Cells, histograms: tuple[Buckets, Buckets], /) -> None: ...
    def add(
        self, seconds: float, first_byte_s: float | None, used: Used | None, expected: int, /
    ) -> None: ...

def request_line(
    wall: float,
    request_id: bytes,
    who: bytes,
    status: int,
    bytes_in: int,
    bytes_out: int,
    where: bytes,
    attempts: int,
    waited_s: float,
    started: float,
    first_byte_at: float,
    now: float,
    used: Used | None,
    extra: bytes,
    /,
) -> bytes: ...

class Work:
    in_flight: int
    others: int
    backlog: int
    last_chosen: int
    slot: int
    @property
    def load(self) -> int: ...

def least_work(
    workers: Sequence[B], burdens: Mapping[int, float], tokens_per_request: int, /
) -> tuple[B, float]: ...
