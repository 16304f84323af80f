"""The router's document; the one part of this package that others import."""

from sglrouter.models.access import External, KeyEntry, Keys
from sglrouter.models.base import PolicyName, Priority, Role, SecretSource
from sglrouter.models.discovery import (
    AwsDiscovery,
    AwsPeers,
    Discovery,
    FileDiscovery,
    Peers,
    StaticDiscovery,
    StaticPeers,
    StaticRouter,
    StaticWorker,
    WorkerList,
)
from sglrouter.models.document import (
    Affinity,
    CloudWatch,
    Limits,
    Listen,
    RouterDocument,
    parse_document,
    parse_worker_list,
    problems,
)
from sglrouter.models.fleet import ANY_MODEL, Breaker, FleetRoute, Queue, Tier

__all__ = [
    "ANY_MODEL",
    "Affinity",
    "AwsDiscovery",
    "AwsPeers",
    "Breaker",
    "CloudWatch",
    "Discovery",
    "External",
    "FileDiscovery",
    "FleetRoute",
    "KeyEntry",
    "Keys",
    "Limits",
    "Listen",
    "Peers",
    "PolicyName",
    "Priority",
    "Queue",
    "Role",
    "RouterDocument",
    "SecretSource",
    "StaticDiscovery",
    "StaticPeers",
    "StaticRouter",
    "StaticWorker",
    "Tier",
    "WorkerList",
    "parse_document",
    "parse_worker_list",
    "problems",
]
