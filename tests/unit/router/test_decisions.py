"""The router's pure decisions, as data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglrouter.errors import DocumentError
from sglrouter.models import RouterDocument, parse_document
from sglrouter.serving.retry import Cause, RetryBudget, Step, next_step
from sglrouter.wire.head import BadHeadError, read_head, read_response_head
from sglrouter.wire.routes import Kind, find_route

INTERFACES = Path(__file__).parents[3] / "docs/reference/interfaces.md"


def test_the_documented_router_document_is_read_as_it_stands():
    """The example of docs/reference/interfaces.md."""
    text = INTERFACES.read_text().split("### RouterDocument")[1]
    document = parse_document(text.split("```json")[1].split("```")[0], "interfaces.md")
    assert document.fleets["chat"].models == ("tiny",)
    assert document.keys is not None
    assert document.keys.secret == "sglctl/prod/api-keys"
    assert RouterDocument.model_validate_json(document.model_dump_json()) == document


GOOD = {
    "environment": "prod",
    "fleets": {"chat": {"models": ["tiny"]}},
    "keys": {"secret": "sglctl/prod/api-keys"},
    "discovery": {"kind": "aws"},
}


def _external(url):
    return {"kind": "openai", "url": url, "key": {"secret": "k"}, "models": {"tiny": "m"}}


BAD_DOCUMENTS = [
    ({"nope": 1}, "nope: Extra inputs"),
    ({"version": 2}, "version: Input should be 1"),
    ({"environment": "Prod"}, "environment: "),
    ({"keys": None}, "only `local` may run without"),
    ({"keys": {}}, "exactly one of `secret` and `file`"),
    ({"keys": {"secret": "a", "file": "b"}}, "exactly one"),
    ({"fleets": {}}, "fleets: "),
    ({"fleets": {"chat": {"models": []}}}, "fleets.chat.models: "),
    ({"fleets": {"a": {"models": ["m"]}, "b": {"models": ["m"]}}}, "in fleets 'a' and 'b'"),
    ({"policy": "best"}, "policy: "),
    ({"limits": {"max_body_bytes": "64 MB"}}, "limits.max_body_bytes: "),
    ({"listen": {"port": 70000}}, "listen.port: "),
    ({"discovery": {"kind": "dns"}}, "discovery: "),
    (
        {"discovery": {"kind": "static", "workers": [{"url": "x", "fleet": "chat"}]}},
        "write http://HOST:PORT",
    ),
    (
        {"discovery": {"kind": "static", "workers": [{"url": "http://a:1", "fleet": "b"}]}},
        "fleet 'b', not in `fleets`",
    ),
    (
        {"externals": {"out\r\nx: y": _external("https://api.example.com")}},
        "externals.out\r\nx: y.[key]: String should match",
    ),
    (
        {"externals": {"out": _external("https://me:secret@api.example.com")}},
        "externals.out.url: Value error, a URL holds no credentials",
    ),
    (
        {"externals": {"out": _external("https://api..example.com")}},
        "externals.out.url: Value error",
    ),
    (
        {"externals": {"out": _external("https://api.example.com/a b")}},
        "externals.out.url: Value error, 'https://api.example.com/a b'",
    ),
    (
        {
            "peers": {
                "kind": "static",
                "self_id": "a\nb",
                "routers": [{"id": "a\nb", "url": "http://h:1"}],
            }
        },
        "peers.static.routers.0.id: String should match",
    ),
]


@pytest.mark.parametrize(("change", "message"), BAD_DOCUMENTS)
def test_a_wrong_document_is_refused_with_its_key(change, message):
    with pytest.raises(DocumentError, match="here: ") as caught:
        parse_document(json.dumps({**GOOD, **change}), "here")
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["[1]", "{", "a: [", "", "x"])
def test_what_is_no_mapping_is_no_document(text):
    with pytest.raises(DocumentError):
        parse_document(text, "here")


ROUTES = [
    (b"/health", Kind.HEALTH, "/health"),
    (b"/ping", Kind.HEALTH, "/ping"),
    (b"/v1/models", Kind.MODELS, "/v1/models"),
    (b"/v1/models/org/name", Kind.MODEL, "/v1/models/*"),
    (b"/v1/chat/completions", Kind.FORWARD, "/v1/chat/completions"),
    (b"/v1/something/new", Kind.FORWARD, "/v1/*"),
    (b"/generate", Kind.FORWARD, "/generate"),
    (b"/invocations", Kind.FORWARD, "/invocations"),
    (b"/v1/load_lora_adapter/", Kind.UNKNOWN, "unknown"),
    (b"/v1/load_lora_adapter#x", Kind.UNKNOWN, "unknown"),
    (b"/v1/load_lora_adapter", Kind.UNKNOWN, "unknown"),
    (b"/health_generate", Kind.UNKNOWN, "unknown"),
    (b"/v1", Kind.UNKNOWN, "unknown"),
    (b"/\xff", Kind.UNKNOWN, "unknown"),
]


@pytest.mark.parametrize(("path", "kind", "label"), ROUTES)
def test_a_path_has_one_route(path, kind, label):
    assert (find_route(path).kind, find_route(path).label) == (kind, label)


STEPS = [
    (Cause.STALE, 0, 2, 0, Step.SAME_WORKER),
    (Cause.STALE, 2, 2, 0, Step.SAME_WORKER),
    (Cause.CONNECT, 0, 2, 1, Step.NEXT_WORKER),
    (Cause.STATUS, 1, 2, 3, Step.NEXT_WORKER),
    (Cause.RESET, 2, 2, 3, Step.GIVE_UP),
    (Cause.RESET, 0, 0, 3, Step.GIVE_UP),
    (Cause.FIRST_BYTE, 0, 2, 0, Step.GIVE_UP),
]


@pytest.mark.parametrize(("cause", "retries", "most", "untried", "expected"), STEPS)
def test_a_failed_attempt_is_followed_by_one_step(cause, retries, most, untried, expected):
    assert next_step(cause, retries=retries, max_retries=most, untried=untried) is expected


def test_the_retry_budget_bounds_a_storm_and_recovers():
    budget = RetryBudget(now=0.0, per_request=0.25)
    assert sum(budget.take(0.0) for _ in range(1000)) == 100
    assert sum(budget.take(1.0) for _ in range(1000)) == 10
    for _ in range(40):
        budget.deposit()
    assert sum(budget.take(1.0) for _ in range(1000)) == 10
    assert sum(budget.take(1e6) for _ in range(1000)) == 100


name = st.from_regex(rb"[Xx]-[A-Za-z0-9]{1,12}", fullmatch=True)
value = st.from_regex(rb"[!-~]([ -~]{0,30}[!-~])?", fullmatch=True)


@given(st.lists(st.tuples(name, value), max_size=12))
def test_headers_nobody_knows_are_passed_on_in_order(pairs):
    known = {b"x-request-id", b"x-api-key"}
    pairs = [(k, v) for k, v in pairs if k.lower() not in known]
    head = read_head(b"POST", b"/v1/x", [(b"Host", b"h"), *pairs], False)
    assert head.passed == b"".join(k + b": " + v + b"\r\n" for k, v in pairs)


@pytest.mark.parametrize("target", [b"*", b"x:1", b"ftp://x/", b""])
def test_a_target_that_is_no_path_is_refused(target):
    with pytest.raises(BadHeadError):
        read_head(b"GET", target, [(b"host", b"h")], False)


def test_a_connection_header_cannot_remove_the_framing():
    """`Connection: content-length` is an old trick against proxies, in both directions."""
    head = read_head(
        b"POST",
        b"/v1/x",
        [(b"host", b"h"), (b"connection", b"content-length, host"), (b"content-length", b"3")],
        False,
    )
    assert b"content-length: 3\r\n" in head.for_worker(b"w", 3, b"id")
    answer = read_response_head(
        b"HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 3", 200
    )
    assert answer.passed == b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"


def test_every_metric_and_every_key_is_documented(lab):
    """docs/reference/router.md names all of them."""
    text = (INTERFACES.parent / "router.md").read_text()

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            return (await world.admin("/metrics")).body.decode()

    names = {line.split()[2] for line in lab.run(scenario()).splitlines() if "# TYPE" in line}
    assert [metric for metric in sorted(names) if f"`{metric}`" not in text] == []
    keys = set()
    for definition in [
        RouterDocument.model_json_schema(),
        *RouterDocument.model_json_schema()["$defs"].values(),
    ]:
        keys |= set(definition.get("properties", {}))
    unsaid = {"version", "url", "fleet", "agent_url"}  # interfaces.md has these
    assert [key for key in sorted(keys - unsaid) if key not in text] == []
