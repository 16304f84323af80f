"""Writes every answer twice, as the emulator does and as moto does, and compares."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moto.core.serialize import QuerySerializer, ResponseSerializer


class BothWays:
    """`compared`: answers by operation, `service:Name`; `differences`: operations and bodies."""

    def __init__(self) -> None:
        self.compared: Counter[str] = Counter()
        self.differences: list[tuple[str, str, str]] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Compare all answers of the query and the EC2 protocol meanwhile."""
        ours = QuerySerializer._serialize_result

        def both(serializer: Any, response: Any, result: Any) -> Any:
            theirs = ResponseSerializer._serialize_result
            by_moto = theirs(serializer, copy.deepcopy(response), result)
            written = ours(serializer, response, result)
            name = f"{serializer.service_model.service_name}:{serializer.operation_name}"
            self.compared[name] += 1
            if written != by_moto:
                self.differences.append((name, str(written), str(by_moto)))
            return written

        QuerySerializer._serialize_result = both
        try:
            yield
        finally:
            QuerySerializer._serialize_result = ours
