"""Arithmetic as it is written. The expression is parsed and walked; nothing is executed."""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable
from typing import Annotated, Any

from semantic_kernel.functions import kernel_function

from localphi_agents.plugins.bounds import bounds
from localphi_agents.plugins.errors import PluginError

Number = int | float

_MAX_LENGTH = 200
_MAX_DEPTH = 40
_MAX_BITS = 4096  # of a whole number; 1233 digits
_MAX_FACTORIAL = 400
_MAX_ROUNDING = 30
_WRITTEN_OTHERWISE = {"^": "**", "×": "*", "·": "*", "÷": "/", "−": "-"}

_OPERATORS: dict[type[ast.operator] | type[ast.unaryop], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
_CONSTANTS = {"pi": math.pi, "e": math.e}


def _factorial(number: Number) -> int:
    if not 0 <= number <= _MAX_FACTORIAL:
        raise PluginError(f"factorial takes a whole number from 0 to {_MAX_FACTORIAL}, but got {number}.")
    return math.factorial(_whole(number))


def _round(number: Number, digits: Number = 0) -> Number:
    if abs(digits) > _MAX_ROUNDING:
        raise PluginError(f"round takes up to {_MAX_ROUNDING} digits, but got {digits}.")
    return round(number, _whole(digits)) if digits else round(number)


def _whole(number: Number) -> int:
    if number != int(number):
        raise PluginError(f"A whole number is wanted here, but {number} came.")
    return int(number)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs, "round": _round, "min": min, "max": max,
    "floor": math.floor, "ceil": math.ceil,
    "sqrt": math.sqrt, "exp": math.exp, "log": math.log, "log2": math.log2, "log10": math.log10,
    "sin": math.sin, "cos": math.cos, "tan": math.tan,
    "asin": math.asin, "acos": math.acos, "atan": math.atan,
    "degrees": math.degrees, "radians": math.radians,
    "factorial": _factorial, "gcd": math.gcd, "lcm": math.lcm,
}  # fmt: skip


class Math:
    """Calculates with +, -, *, /, // (without rest), % (the rest), ** or ^ (power), brackets, pi, e and
    abs, round, min, max, floor, ceil, sqrt, exp, log, log2, log10, sin, cos, tan, asin, acos, atan, degrees,
    radians, factorial, gcd and lcm.

    An expression has up to 200 characters, a whole number up to 1233 digits. Whole numbers are exact, others
    have 15 digits.
    """

    @bounds(expression={"maxLength": _MAX_LENGTH})
    @kernel_function
    def calculate(
        self, expression: Annotated[str, "What to calculate, like (3 + 4) * 2 or sqrt(2)"]
    ) -> Annotated[str, "The result"]:
        """Calculate an arithmetic expression."""
        return _written(_value(_parsed(expression), 0))


def _parsed(expression: str) -> ast.expr:
    if len(expression) > _MAX_LENGTH:
        raise PluginError(
            f"An expression may have {_MAX_LENGTH} characters, but it has {len(expression)}. Do it in steps."
        )
    text = expression.strip()
    for character, meant in _WRITTEN_OTHERWISE.items():
        text = text.replace(character, meant)
    try:
        with warnings.catch_warnings(action="ignore"):  # the parser warns of things like 2if
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise PluginError(
            f"{expression!r} is no arithmetic expression. Write it like (3 + 4) * 2, numbers like 1234.5"
        ) from error


def _value(node: ast.expr, depth: int) -> Number:
    if depth > _MAX_DEPTH:
        raise PluginError(f"The expression is nested more than {_MAX_DEPTH} deep. Do it in steps.")
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _bounded(number)
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _OPERATORS:
            return _applied(_OPERATORS[type(sign)], _value(operand, depth + 1))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left, depth + 1), _value(right, depth + 1))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            return _applied(_OPERATORS[type(sign)], _value(left, depth + 1), _value(right, depth + 1))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _applied(_FUNCTIONS[name], *(_value(argument, depth + 1) for argument in arguments))
    raise PluginError(f"{_shown(node)} cannot be calculated. There are numbers, + - * / // % **, pi, e and "
                      f"{', '.join(_FUNCTIONS)}.")  # fmt: skip


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * exponent > _MAX_BITS:
        if abs(base) > 1:
            raise PluginError(f"The power {base} ** {exponent} is too big to be written out.")
        exponent %= 2  # of 0, 1 and -1, whose powers repeat
        exponent += 2
    return _applied(operator.pow, base, exponent)


def _applied(function: Callable[..., Any], *arguments: Number) -> Number:
    try:
        return _bounded(function(*arguments))
    except ZeroDivisionError as error:
        raise PluginError("This divides by zero.") from error
    except OverflowError as error:
        raise PluginError("The result is too big.") from error
    except PluginError:
        raise
    except (TypeError, ValueError) as error:
        name = getattr(function, "__name__", "The function").strip("_")
        given = ", ".join(map(str, arguments))
        raise PluginError(f"{name} does not take ({given}): {error}.") from error


def _bounded(result: Any) -> Number:
    if isinstance(result, complex):
        raise PluginError("The result is not a real number.")
    if isinstance(result, int) and result.bit_length() > _MAX_BITS:
        raise PluginError("The result is too big to be written out.")
    if isinstance(result, float) and not math.isfinite(result):
        raise PluginError("The result is too big.")
    number: Number = result
    return number


def _written(number: Number) -> str:
    return str(number) if isinstance(number, int) else f"{number:.15g}"


def _shown(node: ast.expr) -> str:
    if isinstance(node, ast.Tuple):
        return "A comma between numbers (write 1000, not 1,000)"
    return f"{ast.unparse(node)[:40]!r}"
