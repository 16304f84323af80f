"""Answers in pages: MaxRecords and NextToken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError

Item = TypeVar("Item")


def page(response: Any, found: Sequence[Item], *, longest: int) -> tuple[list[Item], str | None]:
    """The records asked for, and the token of the next page or None.

    Raises ValidationError for MaxRecords beyond `longest`, InvalidNextToken for a strange token.
    """
    count = response._get_int_param("MaxRecords", longest)
    if not 1 <= count <= longest:
        raise ValidationError(f"MaxRecords must be from 1 to {longest}, it is {count}")
    token = response._get_param("NextToken") or "0"
    if not token.isdigit():
        raise AutoscalingClientError("InvalidNextToken", f"Invalid next token: {token}")
    start = int(token)
    end = start + count
    return list(found[start:end]), str(end) if end < len(found) else None
