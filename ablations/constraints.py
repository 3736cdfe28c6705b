"""Constraints on a study's cells: short comparisons over configuration keys, read as text and never run as code."""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Mapping
from typing import Any

from deepsight.errors import UserError

CONSTANTS = {"true": True, "false": False, "none": None, "null": None}
FOLDS: dict[str, Callable[[Any], Any]] = {"sum": sum, "min": min, "max": max, "length": len}
"""What may follow a key that holds a list: `model.layers.sum`."""
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, many: one in many,
    ast.NotIn: lambda one, many: one not in many,
}
OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
LONGEST_SHOWN = 100
GRAMMAR = "write a comparison of keys and values, such as model.layers.sum == 4 or objective.name in [none, embedding]"


class Absent:
    """In place of a key that a configuration has not: it is equal to none and to nothing else."""


ABSENT = Absent()


class Constraint:
    """One line of `where`.

    Keys are those of a run's configuration (`model.layers`, `objective.n`); a list may be folded (`.sum`, `.min`,
    `.max`, `.length`). There are comparisons, `and`, `or`, `not`, and arithmetic. A component stands for its name, a
    list of one item for the item, and `none` for whatever is empty or absent; a bare word that is no key is text.

    Args:
        text: the line.

    Raises:
        UserError: it is not such a comparison.

    """

    def __init__(self, text: str) -> None:
        self.text = " ".join(text.split())
        self._shown = repr(self.text if len(self.text) <= LONGEST_SHOWN else f"{self.text[:LONGEST_SHOWN]}…")
        self.keys: list[str] = []
        try:
            self._tree = ast.parse(self.text, mode="eval").body
            self._check(self._tree)
        except UserError:
            raise
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise UserError(f"{self._shown} cannot be read: {GRAMMAR}") from None
        if not self.keys:
            raise UserError(f"{self._shown} names no key of the configuration: {GRAMMAR}")

    def holds(self, configuration: Mapping[str, Any]) -> bool:
        """Say whether a configuration fulfils it.

        Raises:
            UserError: values cannot be compared so.

        """
        try:
            return bool(_compared(self._value(self._tree, configuration)))
        except (TypeError, ArithmeticError, RecursionError):
            raise UserError(f"{self._shown} cannot be decided where {self.values(configuration)}") from None

    def values(self, configuration: Mapping[str, Any]) -> str:
        """Return what its keys are in a configuration, in words."""
        return ", ".join(f"{key} is {_said(_looked_up(key, configuration))}" for key in dict.fromkeys(self.keys))

    def unknown_key(self, configurations: list[Mapping[str, Any]]) -> str | None:
        """Return a key that none of these configurations has."""
        for key in self.keys:
            if all(_looked_up(key, configuration) is ABSENT for configuration in configurations):
                return key
        return None

    def _check(self, node: ast.AST) -> None:
        """Take note of the keys, and refuse everything that is no part of the grammar."""
        key = _key(node)
        if key is not None:
            if _is_key(key):
                self.keys.append(key)
            return
        known = (ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.Compare, ast.List, ast.Tuple, ast.Constant, ast.boolop,
                 ast.Not, ast.USub, ast.expr_context, *COMPARISONS, *OPERATIONS)  # fmt: skip
        if not isinstance(node, known) or (
            isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.Not | ast.USub)
        ):
            raise UserError(f"{self._shown} cannot be read: {GRAMMAR}")
        for child in ast.iter_child_nodes(node):
            self._check(child)

    def _value(self, node: ast.AST, data: Mapping[str, Any]) -> Any:
        key = _key(node)
        if key is not None:
            return _looked_up(key, data) if _is_key(key) else CONSTANTS.get(key, key)
        match node:
            case ast.Constant():
                return node.value
            case ast.List() | ast.Tuple():
                return [_compared(self._value(item, data)) for item in node.elts]
            case ast.UnaryOp():
                inner = self._value(node.operand, data)
                return not _compared(inner) if isinstance(node.op, ast.Not) else -_number(inner)
            case ast.BinOp():
                return OPERATIONS[type(node.op)](
                    *(_number(self._value(side, data)) for side in (node.left, node.right))
                )
            case ast.BoolOp():
                decided = all if isinstance(node.op, ast.And) else any
                return decided(_compared(self._value(part, data)) for part in node.values)
            case ast.Compare():
                sides = [_compared(self._value(side, data)) for side in (node.left, *node.comparators)]
                pairs = zip(node.ops, sides, sides[1:], strict=False)
                return all(_decided(COMPARISONS[type(sign)], one, other) for sign, one, other in pairs)
        raise UserError(f"{self._shown} cannot be read: {GRAMMAR}")


def constraints_of(lines: list[str]) -> list[Constraint]:
    """Read the lines of `where`.

    Raises:
        UserError: one of them is no constraint.

    """
    found = []
    for position, line in enumerate(lines):
        try:
            found.append(Constraint(line))
        except UserError as error:
            raise error.within("where", str(position)) from None
    return found


def refused(constraints: list[Constraint], configuration: Mapping[str, Any]) -> str | None:
    """Return why a configuration is left out, in words; None where it fulfils every constraint.

    Raises:
        UserError: a constraint cannot be decided.

    """
    for position, constraint in enumerate(constraints):
        try:
            held = constraint.holds(configuration)
        except UserError as error:
            raise error.within("where", str(position)) from None
        if not held:
            return f"not {constraint.text}: {constraint.values(configuration)}"
    return None


def check_keys(constraints: list[Constraint], configurations: list[Mapping[str, Any]]) -> None:
    """Refuse a key that no configuration has, naming the nearest that one has.

    Raises:
        UserError: there is such a key.

    """
    for position, constraint in enumerate(constraints):
        key = constraint.unknown_key(configurations)
        if key is not None:
            known = sorted({name for configuration in configurations for name in _names(configuration)})
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(f"no run of this study has a key {key!r}{hint}", ("where", str(position)))


def _is_key(name: str) -> bool:
    return "." in name or name == "objective"


def _key(node: ast.AST) -> str | None:
    """Return a dotted name; None for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _key(node.value)
        return None if before is None else f"{before}.{node.attr}"
    return None


def _looked_up(key: str, data: Any) -> Any:
    value: Any = data
    for part in key.split("."):
        value = _within(value, part)
        if value is ABSENT:
            return ABSENT
    return value


def _within(value: Any, part: str) -> Any:
    """Return what a part of a key leads to; lists of one stand for their item, a component's name for the component."""
    if isinstance(value, list | tuple):
        if part in FOLDS and not any(isinstance(item, Mapping) for item in value):
            return FOLDS[part](value)
        value = value[0] if len(value) == 1 else ABSENT
    if isinstance(value, str) and part == "name":
        return value
    if isinstance(value, int | float) and part in ("sum", "min", "max"):
        return value  # one number of layers is as good as a list of one
    return value.get(part, ABSENT) if isinstance(value, Mapping) else ABSENT


def _number(value: Any) -> Any:
    """Return a number as it is; texts and lists have no arithmetic here, where a product could fill the memory."""
    if not isinstance(value, int | float):
        raise TypeError
    return value


def _compared(value: Any) -> Any:
    """Return a value as comparisons see it."""
    if isinstance(value, list | tuple) and len(value) == 1 and isinstance(value[0], Mapping):
        value = value[0]
    if isinstance(value, Mapping):
        value = value.get("name", dict(value))
    return None if value is ABSENT or value == [] or value == "none" else value


def _decided(sign: Callable[[Any, Any], bool], one: Any, other: Any) -> bool:
    """Compare; what is absent is neither larger nor smaller than anything."""
    ordered = sign in (operator.lt, operator.le, operator.gt, operator.ge)
    return False if ordered and (one is None or other is None) else bool(sign(one, other))


def _said(value: Any) -> str:
    shown = _compared(value)
    return "absent" if value is ABSENT else "none" if shown is None else str(shown)


def _names(data: Mapping[str, Any], before: str = "") -> list[str]:
    found = []
    for name, value in data.items():
        inner = value[0] if isinstance(value, list) and len(value) == 1 else value
        found += _names(inner, f"{before}{name}.") if isinstance(inner, Mapping) else [f"{before}{name}"]
    return found
