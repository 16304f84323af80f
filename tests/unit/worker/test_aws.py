"""AWS calls are made by a process that is there only while they are made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import worker_fakes as fakes

from sglworker import aws
from sglworker.aws import Aws, Membership, NoActionError
from sglworker.errors import UnreachableError

MEMBER = Membership("sgl-dev-chat-ondemand", "Pending:Wait")


def with_aws(
    test: Callable[[Aws, fakes.Surroundings], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        around = fakes.Surroundings("127.0.0.1")
        async with fakes.running(around) as environment:
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            client = Aws("us-east-1", "i-0123456789abcdef0")
            try:
                await test(client, around)
            finally:
                await client.close()

    asyncio.run(run())


def test_a_call_after_the_end_of_the_process_starts_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed, or ended because nothing was asked for a while."""
    monkeypatch.setattr(aws, "IDLE_S", 0.1)

    async def test(client: Aws, _around: fakes.Surroundings) -> None:
        assert await client.membership() == MEMBER
        await fakes.until(lambda: client._caller._process is None)
        assert await client.membership() == MEMBER

    with_aws(test, monkeypatch)


def test_refusals_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing to complete is an answer; throttling is a reason to ask again."""

    async def test(client: Aws, around: fakes.Surroundings) -> None:
        around.waiting_hooks = ()
        with pytest.raises(NoActionError):
            await client.complete(MEMBER.group, "launch", "CONTINUE")
        around.throttles = 9
        with pytest.raises(UnreachableError, match="Throttling"):
            await client.membership()

    with_aws(test, monkeypatch)


def test_a_call_without_an_answer_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process goes, and with it an answer that the next call would take for its own."""

    async def test(client: Aws, _around: fakes.Surroundings) -> None:
        monkeypatch.setattr(aws, "_CALL_TIMEOUT_S", 0.01)
        with pytest.raises(UnreachableError, match="no answer"):
            await client.membership()
        assert client._caller._process is None
        monkeypatch.setattr(aws, "_CALL_TIMEOUT_S", 45.0)
        assert await client.membership() == MEMBER

    with_aws(test, monkeypatch)


def test_calls_at_once_get_their_own_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process, one call at a time."""

    async def test(client: Aws, _around: fakes.Surroundings) -> None:
        text, member = await asyncio.gather(
            client.fleet_document("dev", "chat"), client.membership()
        )
        assert '"fleet": "chat"' in text
        assert member == MEMBER

    with_aws(test, monkeypatch)


def test_credentials_that_come_late_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """boto3 gives metadata one second; a worker without credentials would wait for ever."""
    file = tmp_path / "credentials"

    async def test(client: Aws, _around: fakes.Surroundings) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
        with pytest.raises(UnreachableError, match="Unable to locate credentials"):
            await client.membership()
        file.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
        assert await client.membership() == MEMBER

    with_aws(test, monkeypatch)
