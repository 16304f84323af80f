"""Errors of the router, and the exit code each one means.

RouterError           1  anything else that went wrong
├── DocumentError     3  the document, the worker list or the key file is wrong
├── StartError        4  the router cannot start: port taken, metadata or AWS unreachable
└── DiscoveryError    -  one read of the worker set failed; the last known set stays
"""

from __future__ import annotations


class RouterError(Exception):
    """What went wrong, and what to do about it, in one sentence."""

    exit_code = 1


class DocumentError(RouterError):
    exit_code = 3


class StartError(RouterError):
    exit_code = 4


class DiscoveryError(RouterError):
    pass
