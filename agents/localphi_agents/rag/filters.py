"""Filters as Semantic Kernel writes them, `lambda x: x.year > 2020`, as conditions of SQL.

A filter is read, never run. Values become parameters, names must be fields.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from semantic_kernel.exceptions.vector_store_exceptions import VectorStoreOperationException

Condition = tuple[str, tuple[Any, ...]]

_OPERATORS: dict[type[ast.cmpop], str] = {
    ast.Eq: "IS", ast.NotEq: "IS NOT", ast.Is: "IS", ast.IsNot: "IS NOT",
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_MAX_DEPTH = 40
_MAX_OPTIONS = 1000


def condition(node: ast.AST, columns: Mapping[str, tuple[str, bool]]) -> Condition:
    """columns: each field's SQL, and whether it holds a list. Raises VectorStoreOperationException."""
    return _Reader(columns).condition(node, 0)


class _Reader:
    def __init__(self, columns: Mapping[str, tuple[str, bool]]) -> None:
        self._columns = columns

    def condition(self, node: ast.AST, depth: int) -> Condition:
        if depth > _MAX_DEPTH:
            raise VectorStoreOperationException("The filter is nested too deeply.")
        match node:
            case ast.BoolOp(op=op, values=values):
                parts = [self.condition(value, depth + 1) for value in values]
                sign = " AND " if isinstance(op, ast.And) else " OR "
                return f"({sign.join(part[0] for part in parts)})", sum((part[1] for part in parts), ())
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                sql, values_ = self.condition(operand, depth + 1)
                return f"NOT ({sql})", values_
            case ast.Compare(left=left, ops=ops, comparators=others):
                sides = [left, *others]
                parts = [self._compared(*one) for one in zip(sides, ops, sides[1:], strict=False)]
                return f"({' AND '.join(part[0] for part in parts)})", sum((part[1] for part in parts), ())
            case ast.Call(func=ast.Attribute(value=value, attr=method), args=[argument], keywords=[]):
                return self._called(value, method, argument)
            case ast.Constant(value=bool() as truth):
                return str(int(truth)), ()
        if self._is_field(node):
            return f"({self._column(node)[0]})", ()
        raise _unknown(node)

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Condition:
        if isinstance(op, ast.In | ast.NotIn):
            sql, values = self._contained(left, right)
            return (f"NOT {sql}" if isinstance(op, ast.NotIn) else sql), values
        if type(op) not in _OPERATORS:
            raise _unknown(op)
        (first, before), (second, after) = self._side(left), self._side(right)
        return f"{first} {_OPERATORS[type(op)]} {second}", before + after

    def _contained(self, left: ast.expr, right: ast.expr) -> Condition:
        if self._is_field(right):  # "word" in x.text, "a" in x.tags
            return self._called(right, "contains", left)
        column, _ = self._column(left)
        options = self._value(right)
        if not isinstance(options, list | tuple | set) or len(options) > _MAX_OPTIONS:
            raise _unknown(right)
        return f"({column} IN ({', '.join('?' * len(options))}))", tuple(options)

    def _called(self, value: ast.expr, method: str, argument: ast.expr) -> Condition:
        column, is_list = self._column(value)
        wanted = self._value(argument)
        match method:
            case "contains" | "__contains__" if is_list:
                return f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value IS ?)", (wanted,)
            case "contains" | "__contains__":
                return f"(instr({column}, ?) > 0)", (wanted,)
            case "startswith" if isinstance(wanted, str):
                return f"(substr({column}, 1, length(?)) = ?)", (wanted, wanted)
            case "endswith" if isinstance(wanted, str):
                return f"(? = '' OR substr({column}, -length(?)) = ?)", (wanted, wanted, wanted)
        raise VectorStoreOperationException(
            f"A filter may call contains, startswith and endswith, but {method} came."
        )

    def _side(self, node: ast.expr) -> Condition:
        if self._is_field(node):
            return self._column(node)[0], ()
        return "?", (self._value(node),)

    def _is_field(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Attribute | ast.Subscript)

    def _column(self, node: ast.AST) -> tuple[str, bool]:
        match node:
            case ast.Attribute(value=ast.Name(), attr=name):
                pass
            case ast.Subscript(value=ast.Name(), slice=ast.Constant(value=str() as name)):
                pass
            case _:
                raise _unknown(node)
        if name not in self._columns:
            raise VectorStoreOperationException(
                f"{name!r} is no field that can be filtered; there are {', '.join(self._columns)}."
            )
        return self._columns[name]

    def _value(self, node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
            raise VectorStoreOperationException(
                "A filter compares fields with values that stand in it; write variables into it: "
                f'f"lambda x: x.kind == {{kind!r}}". {ast.unparse(node)[:60]!r} is none.'
            ) from error


def _unknown(node: ast.AST) -> VectorStoreOperationException:
    text = ast.unparse(node)[:80] if isinstance(node, ast.expr) else type(node).__name__
    return VectorStoreOperationException(f"{text!r} is nothing that a filter here can do.")
