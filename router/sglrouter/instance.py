"""What an instance knows of itself: metadata (version 2), then its environment's document.

Metadata: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
(session token by PUT, then GET with the token). AWS_EC2_METADATA_SERVICE_ENDPOINT names another
address, as in boto3. Blocking.
"""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import yaml

from sglrouter.aws import AwsError, call
from sglrouter.errors import DocumentError, StartError
from sglrouter.models import RouterDocument, parse_document

ENDPOINT = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
DEFAULT_ENDPOINT = "http://169.254.169.254"
TIMEOUT_S = 2.0
# At boot the network, the metadata service and the role's credentials may come a little later.
BOOT_DEADLINE_S = 60.0
RELOAD_DEADLINE_S = 10.0
TOKEN_TTL_S = 300


def _request(endpoint: str, method: str, path: str, headers: Mapping[str, str]) -> str:
    parts = urlsplit(endpoint)
    if parts.scheme != "http" or not parts.hostname:
        raise StartError(f"{ENDPOINT}={endpoint!r}: expected http://HOST[:PORT]")
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=TIMEOUT_S)
    try:
        connection.request(method, parts.path.rstrip("/") + path, headers=dict(headers))
        answer = connection.getresponse()
        body = answer.read(65536)
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f"{method} {path} answered {answer.status}")
    return body.decode()


def _endpoint() -> str:
    return os.environ.get(ENDPOINT) or DEFAULT_ENDPOINT


def _read(endpoint: str, *paths: str) -> list[str]:
    """The text at each path. Raises OSError, http.client.HTTPException or StartError. Blocks."""
    ttl = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_TTL_S)}
    token = _request(endpoint, "PUT", "/latest/api/token", ttl)
    headers = {"X-aws-ec2-metadata-token": token}
    return [_request(endpoint, "GET", path, headers) for path in paths]


def read_metadata(endpoint: str) -> tuple[str, str]:
    """(user data, region). Raises OSError or http.client.HTTPException."""
    user_data, region = _read(endpoint, "/latest/user-data", "/latest/meta-data/placement/region")
    return user_data, region


def own_instance_id() -> str:
    """This instance's id. Raises OSError or StartError. Blocks."""
    try:
        (found,) = _read(_endpoint(), "/latest/meta-data/instance-id")
    except http.client.HTTPException as error:
        raise OSError(f"instance metadata: {error!r}") from error
    return found


def environment_of(user_data: str) -> str:
    """The environment that user data names. Raises DocumentError."""
    try:
        data = yaml.safe_load(user_data)
    except yaml.YAMLError as error:
        raise DocumentError(f"user data: not YAML: {error}") from error
    environment = data.get("environment") if isinstance(data, dict) else None
    if not isinstance(environment, str):
        raise DocumentError("user data: `environment` is missing")
    return environment


def _parameter(name: str) -> str:
    def get(ssm: object) -> str:
        value = ssm.get_parameter(Name=name)["Parameter"]["Value"]  # type: ignore[attr-defined]
        return str(value)

    return call("ssm", get)


def document_from_instance(
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    deadline_s: float = BOOT_DEADLINE_S,
) -> RouterDocument:
    """The document of the instance's environment, asked for until `deadline_s` has passed.

    Raises StartError (unreachable) or DocumentError (wrong).
    """
    endpoint = _endpoint()
    deadline = clock() + deadline_s
    delay = 0.5
    while True:
        try:
            user_data, region = read_metadata(endpoint)
            environment = environment_of(user_data)
            os.environ.setdefault("AWS_REGION", region)
            os.environ.setdefault("AWS_DEFAULT_REGION", os.environ["AWS_REGION"])
            name = f"/sglctl/{environment}/router"
            return _of_environment(parse_document(_parameter(name), name), environment)
        except (OSError, http.client.HTTPException, AwsError) as error:
            if clock() + delay > deadline:
                raise StartError(f"the instance's document cannot be read: {error}") from error
        sleep(delay)
        delay = min(5.0, delay * 2)


def _of_environment(document: RouterDocument, environment: str) -> RouterDocument:
    if document.environment != environment:
        raise DocumentError(
            f"/sglctl/{environment}/router: it is the document of {document.environment!r}"
        )
    return document
