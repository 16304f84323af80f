"""The one place where sessions come from: emulator or AWS, credentials, account guard."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sglctl.errors import PreconditionError
from sglctl.local import Emulator

if TYPE_CHECKING:
    from sglctl.config.environment import Environment

#: The account of an environment that names none, in the emulator.
DEFAULT_ACCOUNT = "123456789012"
#: Every call's limits, seconds; botocore's own are 60 and no bound on retries' total.
_CONNECT_S, _READ_S = 5, 60

_DROPPED = (
    "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN",
    "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
)  # fmt: skip


@dataclass(frozen=True)
class Session:
    """Where an environment's API is, and who we are there.

    `endpoint` is None on AWS. `environ` is the process environment for every child that talks
    to AWS (Terraform, Packer, Ansible).
    """

    region: str
    account: str
    endpoint: str | None
    environ: Mapping[str, str]

    @property
    def emulated(self) -> bool:
        return self.endpoint is not None

    @cached_property
    def _boto(self) -> Any:
        import boto3

        keys = self.environ if self.emulated else {}
        return boto3.Session(
            region_name=self.region,
            aws_access_key_id=keys.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=keys.get("AWS_SECRET_ACCESS_KEY"),
        )

    def client(self, service: str) -> Any:
        """A boto3 client with timeouts, bounded retries and the right endpoint."""
        from botocore.config import Config

        config = Config(
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"mode": "standard", "max_attempts": 5},
            s3={"addressing_style": "path"} if self.emulated else None,
            proxies={} if self.emulated else None,
        )
        return self._boto.client(service, endpoint_url=self.endpoint, config=config)


def is_emulator_url(url: str) -> bool:
    """Loopback: nothing of AWS's ever is."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def emulator_environ(base: Mapping[str, str], endpoint: str, region: str) -> dict[str, str]:
    """The process environment that reaches the emulator and can reach nothing else."""
    kept = {
        key: value
        for key, value in base.items()
        if key not in _DROPPED and not key.startswith("AWS_ENDPOINT_URL")
    }
    hosts = "127.0.0.1,localhost"
    return {
        **kept,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "sglocal",
        "AWS_SECRET_ACCESS_KEY": "sglocal",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": hosts,
        "no_proxy": hosts,
    }


def connect(
    name: str,
    environment: Environment,
    emulator: Emulator | None,
    environ: Mapping[str, str] | None = None,
) -> Session:
    """A session for an environment, its account checked.

    `emulator` is the running one of the environment, None where there is none. Then
    `AWS_ENDPOINT_URL` may name one; an environment with `target: local` needs either.
    Raises PreconditionError: no emulator for a local environment, missing or bad credentials,
    credentials of another account.
    """
    base = dict(os.environ if environ is None else environ)
    endpoint = emulator.endpoint if emulator else _endpoint_of(base)
    if endpoint is None and environment.target == "local":
        raise PreconditionError(
            f"the environment {name} is not running on this machine",
            hint=f"sglctl local up --env {name}, or sglctl deploy --env {name}",
        )
    region = environment.region
    if endpoint is not None:
        base = emulator_environ(base, endpoint, region)
    session = Session(region, "", endpoint, base)
    account = _account(session)
    _guard(name, environment.account, account, session)
    return Session(region, account, endpoint, {**base, "AWS_REGION": region})


def _endpoint_of(environ: Mapping[str, str]) -> str | None:
    url = environ.get("AWS_ENDPOINT_URL")
    return url if url and is_emulator_url(url) else None


def _account(session: Session) -> str:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return str(session.client("sts").get_caller_identity()["Account"])
    except ClientError as error:
        raise PreconditionError(
            f"AWS refused the credentials: {error.response['Error'].get('Message', error)}",
            hint="renew them (aws sso login), or choose others with AWS_PROFILE",
        ) from error
    except BotoCoreError as error:
        if session.emulated:
            raise PreconditionError(
                f"the emulator at {session.endpoint} does not answer: {error}",
                hint="sglctl local status",
            ) from error
        raise PreconditionError(
            f"no usable AWS credentials: {error}",
            hint="set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; to rehearse "
            "on this machine instead: sglctl local up",
        ) from error


def _guard(name: str, wanted: str | None, found: str, session: Session) -> None:
    if wanted is None or wanted == found:
        return
    where = f"the emulator at {session.endpoint}" if session.emulated else "these credentials"
    raise PreconditionError(
        f"account guard: {name} belongs to account {wanted}, but {where} "
        f"{'is' if session.emulated else 'are of'} account {found}; nothing was done",
        hint="choose the right credentials with AWS_PROFILE, or correct `account` in "
        f"config/environments/{name}.yaml",
    )
