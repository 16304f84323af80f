"""What /metrics and /v1/loads tell, under SGLang's names."""

from __future__ import annotations

import bisect
import time
from collections import deque
from collections.abc import Sequence

# Bucket bounds as SGLang 0.5.23 tells them.
_TTFT = (0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400)
_E2E = (*_TTFT, 600, 1200, 1800, 2400)
_ITL = (0.002, 0.004, 0.006, 0.008, 0.010, 0.015, 0.020, 0.025, 0.030, 0.035, 0.040, 0.060,
        0.080, 0.100, 0.200, 0.400, 0.600, 0.800, 1, 2, 4, 6, 8)  # fmt: skip
_QUEUE = (0.0, 0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 10, 15, 20, 30, 40,
          50, 60, 70, 80, 90, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000, 1200, 1400, 1600,
          1800, 2000, 2500, 3000)  # fmt: skip
#: The cache hit rate is that of the last so many prompts.
_RECENT_PROMPTS = 64


class Histogram:
    """A Prometheus histogram without labels."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(float(bound) for bound in bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str, labels: str) -> list[str]:
        """Sample lines; `labels` is what stands between the braces."""
        lines, running = [], 0
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            running += count
            lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {running}.0')
        lines.append(f"{name}_count{{{labels}}} {running}.0")
        lines.append(f"{name}_sum{{{labels}}} {self.total}")
        return lines


class Statistics:
    """Counters and histograms of one engine. Times in seconds. Keys are "is streaming"."""

    def __init__(self) -> None:
        self.ttft = {flag: Histogram(_TTFT) for flag in (False, True)}
        self.e2e = {flag: Histogram(_E2E) for flag in (False, True)}
        self.itl = Histogram(_ITL)
        self.queue_time = Histogram(_QUEUE)
        self.prompt_tokens = {False: 0, True: 0}
        self.cached_tokens = 0
        self.requests = {False: 0, True: 0}
        self.generated_tokens = {False: 0, True: 0}
        self._recent: deque[tuple[int, int]] = deque(maxlen=_RECENT_PROMPTS)
        self._token_times: deque[float] = deque(maxlen=4096)

    def prefilled(self, prompt: int, cached: int, streaming: bool) -> None:
        self.prompt_tokens[streaming] += prompt
        self.cached_tokens += cached
        self._recent.append((cached, prompt))

    def first_token(self, ttft_s: float, streaming: bool) -> None:
        self.ttft[streaming].observe(ttft_s)
        self._count(streaming)

    def next_token(self, itl_s: float, streaming: bool) -> None:
        self.itl.observe(itl_s)
        self._count(streaming)

    def _count(self, streaming: bool) -> None:
        self.generated_tokens[streaming] += 1
        self._token_times.append(time.monotonic())

    def finished(self, e2e_s: float, streaming: bool) -> None:
        self.requests[streaming] += 1
        self.e2e[streaming].observe(e2e_s)

    def cache_hit_rate(self) -> float:
        """Cached share of the recent prompts' tokens."""
        cached, total = (
            (sum(column) for column in zip(*self._recent, strict=True))
            if (self._recent)
            else (0, 0)
        )
        return cached / total if total else 0.0

    def gen_throughput(self) -> float:
        """Tokens of the last second; above 4,096 extrapolated from the last 4,096."""
        now, times = time.monotonic(), self._token_times
        if len(times) == times.maxlen and now - times[0] < 1.0:
            return len(times) / max(1e-3, now - times[0])
        return float(sum(1 for at in times if now - at < 1.0))
