"""The AWS API, imported when it is first needed; every call has timeouts.

Endpoint, region and credentials come from boto3's own chain (AWS_ENDPOINT_URL, AWS_REGION, the
instance's role); calls block, so they are made in a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from sglrouter.errors import RouterError

T = TypeVar("T")
_lock = threading.Lock()


class AwsError(RouterError):
    """A call to AWS failed."""


@lru_cache(maxsize=8)
def _make(service: str) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        service,
        config=Config(
            connect_timeout=3,
            read_timeout=10,
            retries={"mode": "standard", "total_max_attempts": 3},
        ),
    )


def call(service: str, operation: Callable[[Any], T]) -> T:
    """`operation(client)` with a client of `service`. Raises AwsError. Blocks."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        with _lock:  # making a client is not thread-safe, using one is
            made = _make(service)
        return operation(made)
    except NoCredentialsError as error:
        _make.cache_clear()  # metadata was slow: a client never asks it again
        raise AwsError(f"{service}: {error}") from error
    except (BotoCoreError, ClientError) as error:
        raise AwsError(f"{service}: {error}") from error
