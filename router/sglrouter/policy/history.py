"""What a policy remembers of each worker: what it was sent lately, and how fast it prefills. Pure.

Time is counted in sweeps, about four a second. Both memories fade, so that a worker that was
slow, or is avoided because it seems so, is tried again.
"""

from __future__ import annotations

import math
from collections import defaultdict

_SWEEPS_PER_S = 4
#: Half of what a worker was sent is forgotten after this time; Preble's load window is 3 min.
_LATELY_S = 60
_LATELY_KEPT = 0.5 ** (1 / (_LATELY_S * _SWEEPS_PER_S))
#: So much of what a worker was sent beyond the least counts as its burden, to this many tokens: it
#: is to part idle workers, not to outweigh what waits.
_BURDEN_SHARE, _BURDEN_MOST = 0.05, 8000.0
#: Half of what is known of a worker's speed is forgotten after this time without samples.
_SPEED_S = 300
_SPEED_KEPT = 0.5 ** (1 / (_SPEED_S * _SWEEPS_PER_S))
#: A sample takes this share of all older ones away: some 33 count.
_SAMPLE_SHARE = 0.03
#: A worker begins as if it had been seen this often at the fleet's speed.
_PRIOR_SAMPLES = 4
#: Less than this of a sample is nothing.
_FADED = 0.01
#: Below this many tokens the network and the queue say more than prefill does.
_LEAST_TOKENS = 256
#: Nothing computes that many tokens in less.
_LEAST_S = 1e-5
#: At most this share of what was to be computed may have been thought cached: if the engine had
#: evicted it, the worker seems slower by no more than that.
_DOUBT = 0.25
#: No worker counts as more than this much faster or slower than the mean, and no sample does.
_MOST = 8.0
#: Paces are powers of 2 ** (1 / _STEPS): workers within a fifth of each other are equal.
_STEPS = 2


class History:
    """By slot. `sent`: prompt tokens computed there, faded; `burdens`: what of that counts as work,
    as of the last sweep, in tokens, 0 or more; `paces`: time for a token to that of the mean
    worker, only of those that differ.
    """

    __slots__ = ("_samples", "burdens", "paces", "sent")

    def __init__(self) -> None:
        self.sent: defaultdict[int, float] = defaultdict(float)
        self.burdens: dict[int, float] = {}
        self.paces: dict[int, float] = {}
        self._samples: dict[int, tuple[float, float, float]] = {}  # tokens, seconds, how many

    def first_byte(self, slot: int, new: int, cached: int, ahead: int, seconds: float) -> None:
        """A stream began `seconds` after it was sent, when `ahead` tokens were waiting there;
        of its prompt `new` tokens were to be computed, `cached` were thought not to be."""
        if ahead or new < _LEAST_TOKENS or cached > _DOUBT * new or seconds < _LEAST_S:
            return
        expected = new / self._speed() if self._samples else seconds
        seconds = min(max(seconds, expected / _MOST), expected * _MOST)
        kept = 1 - _SAMPLE_SHARE
        tokens, spent, count = self._samples.get(slot, (0.0, 0.0, 0.0))
        self._samples[slot] = (kept * tokens + new, kept * spent + seconds, kept * count + 1)

    def forget(self, slot: int) -> None:
        self.sent.pop(slot, None)
        self.burdens.pop(slot, None)
        self.paces.pop(slot, None)
        self._samples.pop(slot, None)

    def sweep(self) -> None:
        sent, samples = self.sent, self._samples
        for slot in sent:
            sent[slot] *= _LATELY_KEPT
        if samples:
            self._samples = {
                slot: (tokens * _SPEED_KEPT, spent * _SPEED_KEPT, count * _SPEED_KEPT)
                for slot, (tokens, spent, count) in samples.items()
                if count > _FADED
            }
            self.paces = self._paces()
        if sent:
            self.burdens = self._burdens()

    def _burdens(self) -> dict[int, float]:
        paces, most = self.paces, _BURDEN_MOST
        sent = {slot: tokens * paces.get(slot, 1.0) for slot, tokens in self.sent.items()}
        least = min(sent.values())  # as one that was sent nothing yet has no burden
        return {slot: min(_BURDEN_SHARE * (t - least), most) for slot, t in sent.items()}

    def _speed(self) -> float:
        """Tokens a second of all workers together, of those that were seen."""
        samples = self._samples.values()
        return sum(sample[0] for sample in samples) / sum(sample[1] for sample in samples)

    def _paces(self) -> dict[int, float]:
        if not self._samples:
            return {}
        fleet = self._speed()
        speeds = {}
        for slot, (tokens, spent, count) in self._samples.items():
            usual_s = _PRIOR_SAMPLES * spent / count
            speeds[slot] = (tokens + fleet * usual_s) / (spent + usual_s)
        mean = sum(speeds.values()) / len(speeds)
        paces = {slot: _rounded(mean / speed) for slot, speed in speeds.items()}
        return {slot: pace for slot, pace in paces.items() if pace != 1.0}


def _rounded(pace: float) -> float:
    return float(2 ** (round(_STEPS * math.log2(min(max(pace, 1 / _MOST), _MOST))) / _STEPS))
