"""Reads the API keys, from Secrets Manager or a file, again and again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sglrouter.aws import AwsError, call
from sglrouter.errors import DocumentError
from sglrouter.models import Keys
from sglrouter.serving.core import Router

# Until the keys are there once every request is refused: ask sooner.
FIRST_INTERVAL_S = 2.0


def _read_secret(name: str) -> str:
    """https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html"""
    answer = call("secretsmanager", lambda client: client.get_secret_value(SecretId=name))
    value = answer.get("SecretString")
    if not isinstance(value, str):
        raise DocumentError(f"secret {name}: it has no text value")
    return value


async def read_keys(router: Router, keys: Keys) -> None:
    """Load the ring once. Raises DocumentError; the ring then keeps what it has."""
    try:
        if keys.secret is not None:
            source, text = (
                f"secret {keys.secret}",
                await asyncio.to_thread(_read_secret, keys.secret),
            )
        else:
            source = str(keys.file)
            text = await asyncio.to_thread(Path(source).read_text)
    except (AwsError, OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"the API keys cannot be read: {error}") from error
    router.keys.load(text, source)


async def keep_keys(router: Router, keys: Keys) -> None:
    """Load the ring every `interval_s`, until cancelled; a reason is logged when it is new."""
    logged = ""
    while True:
        try:
            await read_keys(router, keys)
            logged = ""
        except DocumentError as error:
            router.metrics.keys_failed()
            if str(error) != logged:
                logged = str(error)
                router.log.write("keys_unreadable", {"reason": logged})
        await asyncio.sleep(keys.interval_s if router.keys.loaded else FIRST_INTERVAL_S)
