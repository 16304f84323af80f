"""Metric math of alarms and target tracking: arithmetic on series of equal length, pure.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-target-tracking-metric-math.html
Numbers, ids, + - * / ^, brackets, AVG MAX MIN SUM ABS CEIL FLOOR of one series, FILL and IF.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence

Series = list[float | None]

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_COMPARED: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_EACH: dict[str, Callable[[float], float]] = {"ABS": abs, "CEIL": math.ceil, "FLOOR": math.floor}
_WHOLE: dict[str, Callable[[Sequence[float]], float]] = {
    "AVG": lambda values: sum(values) / len(values),
    "MAX": max,
    "MIN": min,
    "SUM": sum,
}


class MetricMathError(ValueError):
    """An expression that is not understood."""


def parse(expression: str) -> ast.expr:
    """The expression's tree. Raises MetricMathError for one that is no expression."""
    try:
        return ast.parse(expression.replace("^", "**"), mode="eval").body
    except SyntaxError as error:
        raise MetricMathError(f"metric math {expression!r}: {error.msg}") from None


def names(expression: str) -> frozenset[str]:
    """The ids and functions that an expression names. Raises MetricMathError."""
    tree = ast.walk(parse(expression))
    return frozenset(node.id for node in tree if isinstance(node, ast.Name))


def evaluate(expression: str, series: Mapping[str, Series], length: int) -> Series:
    """The series of an expression; a point is None where one that it needs is, and where there is
    no value, as of x / 0.

    Raises MetricMathError for unknown ids and functions.
    """
    return _value(parse(expression), series, length)


def _value(node: ast.expr, series: Mapping[str, Series], length: int) -> Series:
    match node:
        case ast.Constant(value=int() | float() as number):
            return [float(number)] * length
        case ast.Name(id=name) if name in series:
            return list(series[name])
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return _each(operator.neg, _value(inner, series, length))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
            pair = _value(left, series, length), _value(right, series, length)
            return _pairs(_BINARY[type(sign)], *pair)
        case ast.Compare(left=left, ops=[sign], comparators=[right]) if type(sign) in _COMPARED:
            pair = _value(left, series, length), _value(right, series, length)
            compare = _COMPARED[type(sign)]
            return _pairs(lambda a, b: float(compare(a, b)), *pair)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            return _call(name, arguments, series, length)
    raise MetricMathError(f"metric math: {ast.unparse(node)!r} is unknown")


def _call(
    name: str, arguments: Sequence[ast.expr], series: Mapping[str, Series], length: int
) -> Series:
    if name == "FILL" and len(arguments) == 2:
        return _filled(_value(arguments[0], series, length), arguments[1])
    values = [_value(argument, series, length) for argument in arguments]
    if name == "IF" and len(values) == 3:
        rows = zip(*values, strict=True)
        return [None if when is None else then if when else other for when, then, other in rows]
    if name in _EACH and len(values) == 1:
        return _each(_EACH[name], values[0])
    if name in _WHOLE and len(values) == 1:
        known = [value for value in values[0] if value is not None]
        return [_WHOLE[name](known) if known else None] * length
    raise MetricMathError(f"metric math: {name} with {len(values)} arguments is unknown")


def _filled(values: Series, filling: ast.expr) -> Series:
    """FILL(metric, number) or FILL(metric, REPEAT)."""
    match filling:
        case ast.Constant(value=int() | float() as number):
            return [float(number) if value is None else value for value in values]
        case ast.Name(id="REPEAT"):
            last: float | None = None
            found: Series = []
            for value in values:
                last = last if value is None else value
                found.append(last)
            return found
    raise MetricMathError(f"metric math: FILL with {ast.unparse(filling)!r} is unknown")


def _each(change: Callable[[float], float], values: Series) -> Series:
    return [None if value is None else float(change(value)) for value in values]


def _pairs(join: Callable[[float, float], float], left: Series, right: Series) -> Series:
    def one(a: float | None, b: float | None) -> float | None:
        if a is None or b is None:
            return None
        try:
            joined: float | complex = join(a, b)
        except ArithmeticError:
            return None
        return None if isinstance(joined, complex) else float(joined)

    return [one(a, b) for a, b in zip(left, right, strict=True)]
