"""What routers counted, read on their own hosts: the admin port is open to nobody else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sglctl.aws.run_command import RunCommand, ScriptResult
from sglctl.config.base import ROUTER_ADMIN_PORT
from sglctl.errors import SglctlError

_TIMEOUT_S = 15.0
#: Summed there: one line for each API key could be more than an answer of Run Command holds.
#: A process host's router listens on an address of its own.
_SCRIPT = """python3 - <<'END'
import collections, json, os, re, urllib.request
host = os.environ.get("SGLCTL_HOST_ADDRESS", "127.0.0.1")
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
with opener.open(f"http://{host}:PORT/metrics", timeout=5) as answer:
    text = answer.read().decode()
tokens, queued = collections.Counter(), collections.Counter()
for line in text.splitlines():
    fleet = re.search(r'[{,]fleet="([^"]*)"', line)
    if line.startswith("sglrouter_tokens_total{") and 'kind="completion"' in line:
        tokens[fleet[1]] += float(line.rsplit(" ", 1)[1])
    if line.startswith("sglrouter_queue_depth{"):
        queued[fleet[1]] += float(line.rsplit(" ", 1)[1])
print(json.dumps({"tokens": tokens, "queued": queued}))
END
"""


@dataclass(frozen=True)
class RouterCounters:
    """By fleet. `tokens`: generated since the router's start. `queued`: requests waiting in it."""

    tokens: Mapping[str, float]
    queued: Mapping[str, int]


def script(port: int = ROUTER_ADMIN_PORT) -> str:
    return _SCRIPT.replace("PORT", str(port))


def read(commands: RunCommand, instance_ids: Sequence[str]) -> dict[str, RouterCounters | None]:
    """Every router's counters; None for one that cannot be read."""
    try:
        results = commands.run(instance_ids, script(), timeout_s=_TIMEOUT_S)
    except SglctlError:
        if len(instance_ids) == 1:
            return {instance_ids[0]: None}
        # One that takes no commands refuses them for all.
        return {name: read(commands, [name])[name] for name in instance_ids}
    return {name: parse(result) for name, result in results.items()}


def parse(result: ScriptResult) -> RouterCounters | None:
    """The script's answer. Pure."""
    if not result.ok:
        return None
    try:
        raw = json.loads(result.stdout)
        return RouterCounters(
            {str(name): float(value) for name, value in raw["tokens"].items()},
            {str(name): int(value) for name, value in raw["queued"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
