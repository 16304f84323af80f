"""The inventory of live hosts, built from EC2's answer. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class LiveHost:
    """One running instance of ours."""

    instance_id: str
    address: str
    role: Literal["worker", "router"]
    fleet: str | None = None

    @property
    def group(self) -> str:
        return f"{self.role}s"


def live_hosts(reservations: Sequence[Mapping[str, Any]]) -> list[LiveHost]:
    """The hosts of DescribeInstances' reservations, in the order of ids."""
    hosts = []
    for reservation in reservations:
        for instance in reservation["Instances"]:
            tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
            role = tags.get("sglctl:role")
            if role in ("worker", "router"):
                hosts.append(
                    LiveHost(
                        instance["InstanceId"],
                        instance["PrivateIpAddress"],
                        role,
                        tags.get("sglctl:fleet"),
                    )
                )
    return sorted(hosts, key=lambda host: host.instance_id)


def proxy_command(hub: str | None, region: str) -> str:
    """How ssh reaches a host: through the hub's namespace here, through Session Manager on AWS.

    https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-getting-started-enable-ssh-connections.html
    On AWS `%n` (the name as given) is the instance id; here `%h` is the address.
    """
    if hub is not None:
        return f"nsenter --net=/run/netns/{hub} nc %h %p"
    return (
        "aws ssm start-session --target %n --document-name AWS-StartSSHSession "
        f"--parameters portNumber=%p --region {region}"
    )


def build_inventory(
    hosts: Sequence[LiveHost],
    *,
    hub: str | None,
    region: str,
    user: str,
    key_file: Path,
    variables: Callable[[LiveHost], Mapping[str, Any]],
) -> dict[str, Any]:
    """Ansible's inventory: groups `workers` and `routers`, hosts named by instance id.

    `variables` gives a host's role variables (workers of two fleets differ in their model).

    Host keys are not checked: hosts are made and replaced by the minute, and both ways in
    (the hub, Session Manager) authenticate the host themselves.
    """
    common = " ".join(
        [
            f"-o ProxyCommand='{proxy_command(hub, region)}'",
            "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
            "-o ConnectTimeout=15",
        ]
    )
    groups: dict[str, Any] = {}
    for host in hosts:
        group = groups.setdefault(host.group, {"hosts": {}})
        group["hosts"][host.instance_id] = {
            **variables(host),
            "ansible_host": host.address if hub is not None else host.instance_id,
        }
    return {
        "all": {
            "children": groups,
            "vars": {
                "ansible_user": user,
                "ansible_ssh_private_key_file": str(key_file),
                "ansible_ssh_common_args": common,
            },
        }
    }


def batches(hosts: Sequence[LiveHost], size: int) -> list[list[LiveHost]]:
    """Workers before routers, `size` at a time, never two roles in one batch."""
    ordered: list[list[LiveHost]] = []
    for role in ("worker", "router"):
        some = [host for host in hosts if host.role == role]
        ordered += [some[i : i + size] for i in range(0, len(some), size)]
    return ordered
