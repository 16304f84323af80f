"""The environment's keys: Terraform makes the secrets, the first values are put here.

No key is ever printed.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable

from sglctl.aws.session import Session
from sglctl.errors import PreconditionError

#: Name of the key that `deploy` makes.
FIRST_KEY = "default"


def ensure_value(session: Session, environment: str) -> bool:
    """Give the empty secret of the API keys its first one; True when it did.

    Raises PreconditionError when there is no such secret, or what it holds is no JSON.
    """
    name = f"sglctl/{environment}/api-keys"
    held = _value(session, name)
    try:
        if held is not None and json.loads(held):
            return False
    except json.JSONDecodeError as error:
        raise PreconditionError(
            f"the secret {name} is no JSON object of names and keys",
            hint='its value must look like {"default": "<key>"}',
        ) from error
    _put(session, environment, name, lambda: json.dumps({FIRST_KEY: secrets.token_urlsafe(32)}))
    return True


def ensure_admin_key(session: Session, environment: str) -> bool:
    """Give the empty secret of the routers' admin port its key; True when it did.

    Raises PreconditionError when there is no such secret.
    """
    name = f"sglctl/{environment}/admin-key"
    if _value(session, name):
        return False
    _put(session, environment, name, lambda: secrets.token_urlsafe(32))
    return True


def externals_without_key(session: Session, environment: str, names: Iterable[str]) -> list[str]:
    """Secrets of external APIs that hold nothing yet: only a person has those keys."""
    wanted = (f"sglctl/{environment}/external/{name}" for name in names)
    return [secret for secret in wanted if not _value(session, secret)]


def _value(session: Session, name: str) -> str | None:
    """The text of a secret; None: no secret, or one without a value (AWS has one error for both).

    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
    """
    client = session.client("secretsmanager")
    try:
        return str(client.get_secret_value(SecretId=name)["SecretString"])
    except client.exceptions.ResourceNotFoundException:
        return None


def _put(session: Session, environment: str, name: str, make: Callable[[], str]) -> None:
    client = session.client("secretsmanager")
    try:
        client.put_secret_value(SecretId=name, SecretString=make())
    except client.exceptions.ResourceNotFoundException as error:
        raise PreconditionError(
            f"the secret {name} does not exist",
            hint=f"Terraform makes it: sglctl apply --env {environment}",
        ) from error
