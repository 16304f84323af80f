"""The fallback chain: another fleet, then an API outside."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglrouter.models import External, FleetRoute
from sglrouter.serving import external
from sglrouter.serving.tiers import body_for_fleet, lines_for, mapped_model, rename_model, stops_of
from sglrouter.wire.body import RequestView

KEY = "sk-external-key"


@asynccontextmanager
async def running(api):
    await api.start()
    try:
        yield
    finally:
        await api.stop()


async def never(request, writer):
    await asyncio.sleep(3600)


def outside(worker, *, kind="openai", prefix="", scheme="http", **changes):
    """An external served by a fake worker."""
    return {
        "kind": kind,
        "url": f"{scheme}://127.0.0.1:{worker.port}{prefix}",
        "key": {"file": "/dev/null"},
        "models": {"tiny": "gpt-tiny"},
        **changes,
    }


def chain(*tiers, **route):
    return {
        "chat": {"models": ["tiny"], "fallback": list(tiers), **route},
        "spare": {"models": ["other"]},
    }


def at_rest(world) -> None:
    assert not world.router.exchanges
    assert {f.in_flight for f in world.router.workers.fleets.values()} == {0}
    targets = [*world.router.workers.workers.values(), *world.router.externals.values()]
    assert {target.in_flight for target in targets} <= {0}


def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(KEY)
    return {"file": str(path)}


FAILURES = {
    "resets": lambda lab: lab.FakeWorker(lab.reset()),
    "says 503": lambda lab: lab.FakeWorker(lab.plain(b"x", "503 Service Unavailable")),
    "is not ready": lambda lab: lab.FakeWorker(state={"state": "warming_up"}),
    "is silent": lambda lab: lab.FakeWorker(never),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_fleet_that_fails_is_replaced_by_the_next_tier(lab, failure):
    """The client sees a success, and who answered."""

    async def scenario():
        own, other = FAILURES[failure](lab), lab.FakeWorker(fleet="spare")
        fleets = chain({"fleet": "spare"}, first_byte_timeout_s=0.1)
        async with lab.world(own, other, fleets=fleets, ready=False) as world:
            ready = 1 if failure == "is not ready" else 2
            await lab.until(lambda: world.router.workers.ready_count() == ready)
            answer = await world.ask(lab.post())
            assert answer.status == 200
            assert answer.header("x-sglctl-tier") == "spare"
            assert answer.header("x-sglctl-worker") == other.id
            assert other.requests[0].body == b'{"model": "other"}'  # its engines know that name
            assert world.router.metrics.tiers == {("chat", "spare"): 1}
            at_rest(world)

    lab.run(scenario())


def test_a_request_that_succeeds_at_home_names_its_own_fleet(lab):
    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            assert (await world.ask(lab.post())).header("x-sglctl-tier") == "chat"

    lab.run(scenario())


def test_the_last_tier_is_an_api_outside(lab, tmp_path):
    """With its own key, model name and path; what of the head describes the client stays here."""

    async def scenario():
        api = lab.FakeWorker()
        async with running(api):
            fleets = chain({"fleet": "spare"}, {"external": "open"})
            settings = outside(api, prefix="/proxy", key=key_file(tmp_path))
            async with lab.world(fleets=fleets, externals={"open": settings}) as world:
                body = b'{ "model" : "tiny", "x": [1.50, 2.0E3], "messages": []}'
                headers = "Cookie: a=b\r\nX-Forwarded-For: 1.2.3.4\r\nX-Api-Key: mine\r\n"
                answer = await world.ask(
                    lab.post(path="/v1/chat/completions?a=b", headers=headers, body=body)
                )
                assert answer.status == 200
                assert answer.header("x-sglctl-tier") == "open"
                assert answer.header("x-sglctl-worker") == "open"
                (sent,) = api.requests
                assert sent.body == b'{ "model" : "gpt-tiny", "x": [1.50, 2.0E3], "messages": []}'
                assert sent.head.startswith(b"POST /proxy/v1/chat/completions?a=b HTTP/1.1\r\n")
                names = {name.lower(): value for name, value in sent.headers}
                assert names["authorization"] == f"Bearer {KEY}"
                assert names["host"] == f"127.0.0.1:{api.port}"
                assert not {"cookie", "x-forwarded-for"} & set(names)
                at_rest(world)

    lab.run(scenario())


UNFIT = {
    "its key is not loaded": ({"key": {"file": "/nonexistent"}}, "/v1/chat/completions"),
    "it has no such model": ({"models": {"else": "x"}}, "/v1/chat/completions"),
    "it is no model's route": ({}, "/tokenize"),
    "it is another kind's route": ({}, "/v1/messages"),
}


@pytest.mark.parametrize("reason", UNFIT)
def test_an_api_that_cannot_serve_a_request_is_not_asked(lab, tmp_path, reason):
    """The client is told what its own fleet's failure was."""
    changes, path = UNFIT[reason]

    async def scenario():
        api = lab.FakeWorker()
        async with running(api):
            fleets = {"chat": {"models": ["tiny"], "fallback": [{"external": "open"}]}}
            settings = outside(api, **{"key": key_file(tmp_path), **changes})
            missing = changes.get("key", {}).get("file") == "/nonexistent"
            if missing:
                settings["key"] = {"secret": "sglctl/none"}
            async with lab.world(fleets=fleets, externals={"open": settings}) as world:
                answer = await world.ask(lab.post(path=path))
                assert (answer.status, answer.error["code"]) == (503, "no_ready_worker")
                assert api.requests == []
                at_rest(world)

    lab.run(scenario())


@pytest.mark.parametrize("status", ["401 Unauthorized", "429 Too Many", "500 Error", "503 No"])
def test_an_api_that_refuses_us_is_a_failure_of_ours_not_of_the_clients_key(lab, tmp_path, status):
    async def scenario():
        api = lab.FakeWorker(lab.plain(b"{}", status))
        async with running(api):
            fleets = {"chat": {"models": ["tiny"], "fallback": [{"external": "open"}]}}
            settings = outside(api, key=key_file(tmp_path))
            async with lab.world(fleets=fleets, externals={"open": settings}) as world:
                answer = await world.ask(lab.post())
                assert (answer.status, answer.error["code"]) == (503, "no_worker_answered")
                at_rest(world)

    lab.run(scenario())


def test_an_api_outside_has_its_own_first_byte_deadline(lab, tmp_path):
    """And a client that leaves meanwhile closes the connection to it."""

    async def scenario():
        api = lab.FakeWorker(never)
        async with running(api):
            tier = {"external": "open", "first_byte_timeout_s": 0.1}
            fleets = {"chat": {"models": ["tiny"], "fallback": [tier]}}
            settings = outside(api, key=key_file(tmp_path))
            async with lab.world(fleets=fleets, externals={"open": settings}) as world:
                answer = await world.ask(lab.post())
                assert (answer.status, answer.error["code"]) == (504, "first_byte_timeout")
                await asyncio.wait_for(api.closed.wait(), 5)
                at_rest(world)

    lab.run(scenario())


def test_a_client_that_leaves_closes_the_connection_outside(lab, tmp_path):
    async def scenario():
        api = lab.FakeWorker(never)
        async with running(api):
            fleets = {"chat": {"models": ["tiny"], "fallback": [{"external": "open"}]}}
            settings = outside(api, key=key_file(tmp_path))
            async with lab.world(fleets=fleets, externals={"open": settings}) as world:
                client = await world.client()
                client.writer.write(lab.post())
                await lab.until(lambda: api.requests)
                client.writer.transport.abort()
                await asyncio.wait_for(api.closed.wait(), 5)
                await lab.until(lambda: not world.router.exchanges)
                at_rest(world)

    lab.run(scenario())


def test_an_api_is_spoken_to_over_verified_tls(lab):
    """The system's roots, the host's name, HTTP/1.1."""
    settings = External.model_validate(
        {
            "kind": "openai",
            "url": "https://api.example.com/v1x",
            "key": {"file": "k"},
            "models": {"a": "b"},
        }
    )
    target = external.ExternalTarget("open", settings)
    assert target.tls is not None
    assert target.tls.verify_mode is ssl.CERT_REQUIRED
    assert target.tls.check_hostname
    assert (target.address.host, target.address.port) == ("api.example.com", 443)
    assert target.host_header == b"api.example.com"


LINES = [
    ("openai", "/v1/chat/completions", [b"authorization: Bearer k"]),
    ("anthropic", "/v1/chat/completions", [b"authorization: Bearer k"]),
    ("anthropic", "/v1/messages", [b"x-api-key: k", b"anthropic-version: 2023-06-01"]),
]


@pytest.mark.parametrize(("kind", "path", "credential"), LINES)
def test_each_kind_gets_its_credential(kind, path, credential):
    lines = lines_for(kind, path, b"Accept: */*\r\nX-Secret: a\r\n", b"k").split(b"\r\n")
    assert lines == [b"Accept: */*", *credential, b""]


def test_the_clients_anthropic_version_is_passed_on():
    lines = lines_for("anthropic", "/v1/messages", b"Anthropic-Version: 2099-01-01\r\n", b"k")
    assert lines.count(b"ersion") == 1
    assert b"Anthropic-Version: 2099-01-01\r\n" in lines


SERVED = [
    ("openai", "/v1/chat/completions", True),
    ("openai", "/v1/messages", False),
    ("openai", "/generate", False),
    ("anthropic", "/v1/messages", True),
    ("anthropic", "/v1/chat/completions", True),
    ("anthropic", "/v1/embeddings", False),
]


@pytest.mark.parametrize(("kind", "path", "served"), SERVED)
def test_only_the_kinds_own_routes_go_outside(kind, path, served):
    settings = External.model_validate(
        {"kind": kind, "url": "https://a", "key": {"file": "k"}, "models": {"m": "theirs"}}
    )
    assert mapped_model(settings, path, "m") == ("theirs" if served else None)
    assert mapped_model(settings, path, "n") is None


def test_a_fleet_is_the_first_stop_of_its_own_chain():
    route = FleetRoute.model_validate(
        {"models": ["m"], "fallback": [{"fleet": "b"}, {"external": "c"}]}
    )
    stops = stops_of("a", route)
    assert [(s.name, s.external, s.first_byte_s) for s in stops] == [
        ("a", False, 5.0),
        ("b", False, 60.0),
        ("c", True, 60.0),
    ]


SPLICED = [
    (b'{"model":"m","a":1.50}', b'{"model":"new \\"x\\"","a":1.50}'),
    (
        b' {\n"a": "\xc3\xa9", "model" :\t"m" } ',
        b' {\n"a": "\xc3\xa9", "model" :\t"new \\"x\\"" } ',
    ),
]


@pytest.mark.parametrize(("body", "expected"), SPLICED)
def test_a_model_is_renamed_in_place(body, expected):
    assert rename_model(body, json.loads(body), 'new "x"') == expected


AMBIGUOUS = [
    b'{"x":{"model":"m"},"model":"m"}',
    b'{"x":{"model":"m"},"\\u006dodel":"m"}',
    b'{"\\u006dodel":"m"}',
    b'{"x":"\\"model\\":\\"m\\"","model":"m"}',
    b'{"model":"m","model":"m"}',
    b'{"model":"m","big":123456789012345678901234567890}',
]


@pytest.mark.parametrize("body", AMBIGUOUS)
def test_where_the_model_cannot_be_found_the_document_is_written_anew(body):
    document = json.loads(body)
    assert json.loads(rename_model(body, document, "new")) == {**document, "model": "new"}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("model"), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values), st.text(), st.text(min_size=1))
def test_renaming_changes_the_model_and_nothing_else(document, old, new):
    document["model"] = old
    body = json.dumps(document).encode()
    assert json.loads(rename_model(body, document, new)) == {**document, "model": new}


@pytest.mark.parametrize(
    ("model", "adapter", "names", "expected"),
    [
        ("tiny", "", ("tiny", "x"), b""),
        ("tiny", "", ("x", "*"), b""),
        ("tiny", "", ("x", "y"), b'{ "model":"x"}'),
        ("tiny:law", "law", ("tiny",), b""),
        ("tiny:law", "law", ("x",), b'{ "model":"x:law"}'),
        (None, "", ("x",), b""),
    ],
)
def test_another_fleet_is_asked_by_its_own_name_of_the_model(model, adapter, names, expected):
    body = b"{}" if model is None else b'{ "model":"%s"}' % model.encode()
    view = RequestView(b"/v1/completions", body, json.loads(body), model)
    assert body_for_fleet(view, FleetRoute(models=names), adapter) == expected


def test_a_body_too_deep_to_be_written_again_stays_as_it_is():
    body = b'{"model": "a", "model": "a", "x": ' + b"[" * 900 + b"]" * 900 + b"}"
    document = json.loads(body)
    assert rename_model(body, document, "b") in (
        body,
        json.dumps({**document, "model": "b"}).encode(),
    )
