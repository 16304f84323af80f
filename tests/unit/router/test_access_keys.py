"""API keys: plain or hashed, refused when wrong, kept as hashes."""

from __future__ import annotations

import hashlib
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglrouter import __main__ as cli
from sglrouter.access.address import client_address
from sglrouter.access.keys import KeyInfo, KeyRing, digest_of, same_key
from sglrouter.errors import DocumentError

KEY = "sk-aaaaaaaa"
SHA = hashlib.sha256(KEY.encode()).hexdigest()


def ring(document: object) -> KeyRing:
    made = KeyRing()
    made.load(json.dumps(document), "file")
    return made


WRONG = [
    ("", "not valid JSON"),
    ("[]", "one key or more"),
    ("{}", "one key or more"),
    ('{"a": 1}', "must be a key"),
    ('{"a": "short"}', "8 characters"),
    ('{"a": "schlüssel"}', "visible ASCII"),
    ('{"a": "sk-with space"}', "visible ASCII"),
    ('{"a": "sk-line\\r\\nx: y"}', "visible ASCII"),
    ('{"a": {"sha256": "hidden"}}', "sha256: String should match"),
    ('{"a": {}}', "sha256: Field required"),
    (f'{{"a": {{"sha256": "{SHA}", "rps": 1}}}}', "rps: Extra inputs"),
    (f'{{"a": {{"sha256": "{SHA}", "concurrency": 0}}}}', "concurrency: "),
    (f'{{"a": {{"sha256": "{SHA}", "priority": "best"}}}}', "priority: "),
    (f'{{"a": "{KEY}", "b": {{"sha256": "{SHA}"}}}}', "'a' and 'b' are the same key"),
    ('{"a": "sk-bbbbbbbb", "a": "sk-cccccccc"}', "'a' is there twice"),
]


@pytest.mark.parametrize(("text", "reason"), WRONG)
def test_wrong_keys_are_refused_without_being_repeated_and_the_old_ones_stay(text, reason):
    kept = ring({"a": KEY})
    with pytest.raises(DocumentError) as caught:
        kept.load(text, "file")
    message = str(caught.value)
    assert reason in message
    hidden = ("short", "schl", "with space", "hidden", "sk-", SHA)
    assert [x for x in hidden if x in message] == []
    assert (kept.find(KEY.encode()), kept.version) == (KeyInfo("a"), 1)


def test_a_plain_and_a_hashed_key_are_found_alike():
    bounds = {"requests_per_second": 2.5, "tokens_per_minute": 100, "concurrency": 3}
    keys = ring({"plain": "sk-bbbbbbbb", "hashed": {"sha256": SHA, **bounds, "priority": "high"}})
    assert keys.find(b"sk-bbbbbbbb") == KeyInfo("plain")
    assert keys.find(KEY.encode()) == KeyInfo("hashed", 2.5, 100, 3, "high")
    assert keys.names() == {"plain", "hashed"}
    assert keys.find(b"") is None
    assert keys.find(SHA.encode()) is None


def test_a_key_ring_keeps_no_key_and_its_dump_loads_the_same_keys():
    keys = ring({"a": KEY, "b": {"sha256": "0" * 64, "concurrency": 1}})
    other = KeyRing()
    other.load(keys.dump(), "parent")
    assert KEY not in repr(vars(keys)) + keys.dump()
    assert vars(other) == vars(keys)


def test_the_version_grows_when_keys_change_and_only_then():
    keys = ring({"a": KEY})
    keys.load(json.dumps({"a": KEY}), "file")
    assert keys.version == 1
    keys.load(json.dumps({"b": KEY}), "file")
    assert (keys.version, keys.find(KEY.encode())) == (2, KeyInfo("b"))


@given(st.binary(max_size=40))
def test_nothing_but_the_key_is_the_key(guess):
    keys = ring({"a": KEY})
    right = guess == KEY.encode()
    assert (keys.find(guess) is not None) is right
    assert same_key(guess, digest_of(KEY)) is right


def test_hash_key_prints_an_entry_that_the_key_fits(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(KEY + "\n"))
    assert cli.main(["hash-key"]) == 0
    entry = json.loads(capsys.readouterr().out)
    assert ring({"a": entry}).find(KEY.encode()) == KeyInfo("a")


@pytest.mark.parametrize("text", ["", "short\n", "with a space\n"])
def test_hash_key_refuses_what_cannot_be_a_key_without_repeating_it(monkeypatch, capsys, text):
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert cli.main(["hash-key"]) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert not text.strip() or text.strip() not in printed.err


ADDRESSES = [
    ("10.0.0.1", b"", True, "10.0.0.1"),
    ("10.0.0.1", b"X-Forwarded-For: 203.0.113.7\r\n", True, "203.0.113.7"),
    ("10.0.0.1", b"x-forwarded-for: 1.1.1.1, 203.0.113.7\r\n", True, "203.0.113.7"),
    ("10.0.0.1", b"x-forwarded-for: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n", True, "2.2.2.2"),
    ("10.0.0.1", b"x-forwarded-for: 203.0.113.7\r\n", False, "10.0.0.1"),
    ("10.0.0.1", b"x-forwarded-for: nobody\r\n", True, "10.0.0.1"),
    ("10.0.0.1", b"a: x-forwarded-for: 203.0.113.7\r\n", True, "10.0.0.1"),
    ("2001:db8:1:2:3:4:5:6", b"", True, "2001:db8:1:2::/64"),
    ("", b"", True, ""),
]


@pytest.mark.parametrize(("peer", "lines", "trusted", "expected"), ADDRESSES)
def test_a_client_is_known_by_what_the_load_balancer_appended(peer, lines, trusted, expected):
    assert client_address(peer, lines, forwarded_for=trusted) == expected
