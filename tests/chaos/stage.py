"""The environment under test: deployed once by `sglctl`, removed at the end."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.chaos.errors import StageError
from tests.chaos.scenario import Kind
from tests.e2e.harness import (
    Sglctl,
    copy_checkout,
    emulator_client,
    emulator_endpoint,
    free_port,
    leftovers,
)

#: Two minutes on a machine that does nothing else, more than ten on a busy one.
_DEPLOY_S = 1500.0
ENVIRONMENT = Path(__file__).with_name("environment.yaml")
#: Fleet -> its kind; a `spot` fleet has its workers in its Spot group.
KINDS: Mapping[str, Kind] = {
    "one": "plain", "two": "plain", "three": "plain", "spot": "spot", "warm": "warm",
}  # fmt: skip


@dataclass(frozen=True)
class Fleet:
    """A fleet of the stage; its model has its name."""

    name: str
    kind: Kind
    instance_type: str

    @property
    def group(self) -> str:
        return f"sgl-local-{self.name}-{'spot' if self.kind == 'spot' else 'ondemand'}"


@dataclass(frozen=True)
class Stage:
    """A deployed environment. `url`: of its load balancer; `where`: its endpoint.json."""

    sglctl: Sglctl
    url: str
    key: str
    admin_key: str
    where: Mapping[str, Any]
    fleets: tuple[Fleet, ...]

    @property
    def emulator(self) -> str:
        return str(self.where["endpoint"])

    @property
    def hosts(self) -> Path:
        """The folder of the hosts' folders."""
        return self.sglctl.state / "local" / "local" / "hosts"

    def client(self, service: str) -> Any:
        return emulator_client(dict(self.where), service)


def write_environment(checkout: Path, fleets: tuple[str, ...]) -> None:
    """The environment's file with these fleets, its own port, and addresses nobody uses."""
    document = yaml.safe_load(ENVIRONMENT.read_text(encoding="utf-8"))
    document["fleets"] = {name: document["fleets"][name] for name in fleets}
    document["router"]["listener_port"] = free_port()
    document["network"]["cidr"] = f"10.{random.randint(64, 250)}.0.0/16"
    target = checkout / "config" / "environments" / "local.yaml"
    target.write_text(_plain(document), encoding="utf-8")


def _plain(document: Any) -> str:
    """YAML without anchors: an environment's file may have none."""
    return yaml.safe_dump(json.loads(json.dumps(document)), sort_keys=False)


def deploy(folder: Path, fleets: tuple[str, ...]) -> Stage:
    """Bring it up below `folder`, or find it there. Raises StageError."""
    checkout, state = folder / "checkout", folder / "state"
    sglctl = Sglctl(checkout, state, "local", {})
    if not checkout.exists():
        checkout.mkdir(parents=True)
        state.mkdir()
        copy_checkout(checkout)
        write_environment(checkout, fleets)
        hosts = ("--hosts", "processes", "--skip-tests")
        checked(sglctl, "deploy", "--yes", *hosts, timeout_s=_DEPLOY_S)
    return attach(sglctl)


def attach(sglctl: Sglctl) -> Stage:
    """The stage that is up. Raises StageError."""
    status = json.loads(checked(sglctl, "status", "--output", "json"))["result"]
    where = emulator_endpoint(sglctl)
    secrets = emulator_client(where, "secretsmanager")
    keys = json.loads(_secret(secrets, "sglctl/local/api-keys"))
    file = sglctl.root / "config" / "environments" / "local.yaml"
    fleets = yaml.safe_load(file.read_text(encoding="utf-8"))["fleets"]
    return Stage(
        sglctl, str(status["url"]), str(next(iter(keys.values()))),
        _secret(secrets, "sglctl/local/admin-key"), where,
        tuple(Fleet(name, KINDS[name], one["instance_types"][0]) for name, one in fleets.items()),
    )  # fmt: skip


def _secret(secrets: Any, name: str) -> str:
    return str(secrets.get_secret_value(SecretId=name)["SecretString"])


def checked(sglctl: Sglctl, *args: str, timeout_s: float = 600) -> str:
    """stdout of a command that must succeed. Raises StageError with what it said."""
    try:
        done = sglctl.run(*args, expect=None, timeout_s=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise StageError(f"sglctl {' '.join(args)}: no end within {timeout_s:.0f} s") from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-3000:]
        raise StageError(f"sglctl {' '.join(args)}: exit {done.returncode}\n{said}")
    return str(done.stdout)


def remove(sglctl: Sglctl) -> list[str]:
    """Take everything down; what is left over all the same."""
    checked(sglctl, "local", "down", timeout_s=120)
    left = leftovers(sglctl.state, None)
    return [f"{kind}: {line}" for kind, lines in left.items() for line in lines]
