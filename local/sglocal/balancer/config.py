"""The HAProxy configuration of a model: pure text.

`option http-no-delay`: without it tokens of a stream wait up to 110 ms for each other.
Nothing buffers a response; the time-outs are the load balancer's idle timeout, as on an ALB:
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sglocal.balancer.model import Action, Fixed, Forward, Listener, Model, Pool, Redirect, Rule

# A worker that a reload left behind ends its streams after this long at the latest.
HARD_STOP = "1h"


def render(model: Model, *, namespace: str | None) -> str:
    """The whole file. `namespace`: where the targets are reached, None for this one."""
    lines = [*_global()]
    for listener in model.listeners:
        lines += ["", *_frontend(listener)]
    for pool in model.pools:
        lines += ["", *_backend(pool, namespace)]
    return "\n".join(lines) + "\n"


def structure(model: Model, *, namespace: str | None) -> str:
    """The file without what can change at run time (the targets' states)."""
    return re.sub(r" disabled$", "", render(model, namespace=namespace), flags=re.MULTILINE)


def _global() -> Iterator[str]:
    yield "global"
    yield "    maxconn 4096"
    yield f"    hard-stop-after {HARD_STOP}"
    yield "    log stdout format raw local0 notice"
    yield ""
    yield "defaults"
    yield "    mode http"
    yield "    log global"
    yield "    option http-no-delay"
    yield "    option forwardfor"
    yield "    option redispatch"
    yield "    retries 1"
    yield "    timeout connect 5s"
    yield "    timeout queue 5s"
    yield "    timeout http-request 60s"


def _frontend(listener: Listener) -> Iterator[str]:
    yield f"frontend {listener.name}"
    tls = "".join(f" crt {path}" for path in listener.certificates)
    secure = f" ssl{tls} alpn h2,http/1.1" if tls else ""
    yield f"    bind 127.0.0.1:{listener.bound}{secure}"
    yield f"    timeout client {listener.idle_timeout_s}s"
    scheme = "https" if tls else "http"
    yield f"    http-request set-header X-Forwarded-Proto {scheme}"
    yield f"    http-request set-header X-Forwarded-Port {listener.port}"
    for number, rule in enumerate(listener.rules):
        yield from _rule(number, rule)
    yield from _action(listener.default, condition="")


def _rule(number: int, rule: Rule) -> Iterator[str]:
    names = []
    if rule.paths:
        names.append(f"path{number}")
        yield f"    acl path{number} path -m reg {_patterns(rule.paths)}"
    if rule.hosts:
        names.append(f"host{number}")
        yield f"    acl host{number} hdr(host),field(1,:) -m reg -i {_patterns(rule.hosts)}"
    yield from _action(rule.action, condition=" if " + " ".join(names))


def _patterns(wildcards: Sequence[str]) -> str:
    """AWS's `*` and `?` as regular expressions, quoted for HAProxy."""
    patterns = []
    for wildcard in wildcards:
        pattern = re.escape(wildcard).replace(r"\*", ".*").replace(r"\?", ".")
        patterns.append(_quoted(f"^{pattern}$"))
    return " ".join(patterns)


def _quoted(text: str) -> str:
    """One word for HAProxy: single quotes, with a quote inside closed and escaped."""
    return "'" + text.replace("'", "'\\''").replace("\r", "").replace("\n", " ") + "'"


def _action(action: Action, *, condition: str) -> Iterator[str]:
    if isinstance(action, Redirect):
        target = f"location {_quoted(action.location)} code {action.status}"
        yield f"    http-request redirect {target}{condition}"
        return
    if isinstance(action, Fixed):
        body = f" content-type {_quoted(action.content_type)} string {_quoted(action.body)}"
        yield f"    http-request return status {action.status}{body}{condition}"
        return
    yield from _forward(action, condition)


def _forward(action: Forward, condition: str) -> Iterator[str]:
    pools = [(name, weight) for name, weight in action.pools if weight > 0]
    if not pools:
        yield f"    http-request return status 503{condition}"
        return
    total = sum(weight for _, weight in pools)
    reached = 0
    for name, weight in pools[:-1]:
        # Each line sees what the lines before it left over.
        share = round(1000 * weight / (total - reached))
        joined = (
            f"{condition} {{ rand(1000) lt {share} }}"
            if condition
            else (f" if {{ rand(1000) lt {share} }}")
        )
        yield f"    use_backend {name}{joined}"
        reached += weight
    last = pools[-1][0]
    yield f"    use_backend {last}{condition}" if condition else f"    default_backend {last}"


def _backend(pool: Pool, namespace: str | None) -> Iterator[str]:
    yield f"backend {pool.name}"
    yield f"    balance {'leastconn' if pool.least_outstanding else 'roundrobin'}"
    yield f"    timeout server {pool.idle_timeout_s}s"
    yield f"    timeout tunnel {pool.idle_timeout_s}s"
    inside = f" namespace {namespace}" if namespace else ""
    for target in pool.targets:
        off = "" if target.state == "ready" else " disabled"
        yield f"    server {target.target_id} {target.address}:{target.port}{inside}{off}"
