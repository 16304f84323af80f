"""Errors of sglctl, and the exit code each one means.

    SglctlError              1  anything else that went wrong
    ├── ConfigError          3  config/ is wrong: file, line, key, what to write instead
    ├── PreconditionError    4  the machine or the account is not fit (tool, key, guard)
    ├── TerraformError       5  Terraform failed
    │   └── StateLockedError 6  somebody else holds the state lock
    ├── HostError            7  a host failed or was unreachable
    │   └── AnsibleError     7  the same, of Ansible
    ├── ImageError           8  a bake failed
    ├── WaitTimeoutError     9  a deadline passed while waiting
    ├── EndpointTestError    10 an endpoint test failed
    └── LocalError           11 the local environment failed

Exit code 2 is click's (wrong usage) and `plan`'s "changes"; 130 is Ctrl-C.
"""

from __future__ import annotations


class SglctlError(Exception):
    """What went wrong, and what to do about it.

    `hint` is one imperative sentence or a command; it is printed on its own line.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(SglctlError):
    exit_code = 3


class PreconditionError(SglctlError):
    exit_code = 4


class TerraformError(SglctlError):
    exit_code = 5


class StateLockedError(TerraformError):
    exit_code = 6


class HostError(SglctlError):
    exit_code = 7


class AnsibleError(HostError):
    pass


class ImageError(SglctlError):
    exit_code = 8


class WaitTimeoutError(SglctlError):
    exit_code = 9


class EndpointTestError(SglctlError):
    exit_code = 10


class LocalError(SglctlError):
    exit_code = 11
