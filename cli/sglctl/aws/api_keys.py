"""The environment's API keys: Terraform makes the secret, the first value is put here."""

from __future__ import annotations

import json
import secrets

from sglctl.aws.session import Session
from sglctl.errors import PreconditionError

#: Name of the key that `deploy` makes.
FIRST_KEY = "default"


def ensure_value(session: Session, environment: str) -> bool:
    """Give an empty secret its first key; True when it did. The key itself is never printed.

    Raises PreconditionError when there is no such secret.
    """
    client, name = session.client("secretsmanager"), f"sglctl/{environment}/api-keys"
    try:
        if json.loads(client.get_secret_value(SecretId=name)["SecretString"]):
            return False
    except client.exceptions.ResourceNotFoundException:
        pass  # no secret, or one without a value: AWS has one error for both
    except json.JSONDecodeError as error:
        raise PreconditionError(
            f"the secret {name} is no JSON object of names and keys",
            hint='its value must look like {"default": "<key>"}',
        ) from error
    document = json.dumps({FIRST_KEY: secrets.token_urlsafe(32)})
    try:
        client.put_secret_value(SecretId=name, SecretString=document)
    except client.exceptions.ResourceNotFoundException as error:
        raise PreconditionError(
            f"the secret {name} does not exist",
            hint=f"Terraform makes it: sglctl apply --env {environment}",
        ) from error
    return True
