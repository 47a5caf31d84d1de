"""Which runs: ``dataset == "tissue" and rate <= 0.4``. Read with Python's own grammar and walked by hand; nothing is evaluated.

A filter compares names with numbers, texts, True, False and None by ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=`` (also chained),
``in`` and ``not in`` a list or tuple, and joins comparisons by ``and``, ``or``, ``not`` and parentheses. Names are

- ``dataset``, ``noise``, ``method``, ``protocol``: the short name or the plugin's, ``method == "hsa"`` is every setting of hsa;
  ``task``, ``backbone``, ``status``;
- ``seed``, ``epochs`` (of the protocol) and ``rate``, the noise's nominal rate: 0 without noise, missing where the model has none;
- ``oracle``, ``stale``, ``tuned``, ``solvable``: true or false, so they may stand alone; ``solvable`` may be missing;
- numbers of the results: ``selected/accuracy``, ``aux/m1/nll``, ``cost/seconds``;
- parameters and options: ``method.forget_rate``, ``dataset.image_size``, ``noise.inclusive``, ``protocol.lr``.

A comparison with a missing value is false whatever it asks, ``!=`` and ``not in`` too; only ``== None`` finds what is missing,
and ``!= None`` what is not. ``not`` turns a comparison round as it stands, so ``not rate > 0.4`` is true where there is no rate.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from benchmark.errors import BenchmarkError, unknown_name
from reports.escape import one_line
from reports.filter_names import ANY, KINDS, NUMBER, TEXT, TRUTH, TYPES, Value, options_of, values_of
from reports.rows import Row

__all__ = ["Filter", "parse_filter"]

LONGEST, DEEPEST = 2_000, 40
"""Characters of a filter, and levels of its tree: one that needs more was not written by hand."""
SHOWN = 40
"""Characters of a filter that an error quotes."""

Test = Callable[[Row], bool]

ORDERS: dict[type, tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Lt: ("<", operator.lt),
    ast.LtE: ("<=", operator.le),
    ast.Gt: (">", operator.gt),
    ast.GtE: (">=", operator.ge),
}


@dataclass(frozen=True)
class Filter:
    """A filter that has been read.

    Attributes:
        text: as written. names: what it asks for, in order, each once.
    """

    text: str
    names: tuple[str, ...]
    test: Test = field(repr=False, compare=False)

    def matches(self, row: Row) -> bool:
        """Whether a row passes; BenchmarkError where it compares by order what is no number."""
        return self.test(row)

    def keep(self, rows: Iterable[Row]) -> list[Row]:
        """The rows that pass, perhaps none.

        Raises:
            BenchmarkError: a metric, parameter or option that none of the rows has, or as :meth:`matches`.
        """
        rows = list(rows)
        for name in self.names if rows else ():
            if "/" in name and not any(name in row for row in rows):
                raise unknown_name("metric in the filter", name, {key for row in rows for key in row if "/" in key})
            kind, dot, option = name.partition(".")
            if dot:
                known = {key for row in rows for key in options_of(row, kind)}
                if option not in known:
                    raise unknown_name(f"option of {kind} in the filter", option, known)
        return [row for row in rows if self.test(row)]


def parse_filter(text: str) -> Filter:
    """Read a filter.

    Raises:
        BenchmarkError: it is empty, too long or too deep, no such expression, or it holds an unknown name or compares a name with
            what it never is. The place is named, counted in characters from 1.
    """
    if not text.strip():
        raise BenchmarkError('the filter is empty; write e.g. dataset == "tissue" and rate <= 0.4')
    if len(text) > LONGEST:
        raise BenchmarkError(f"the filter has {len(text)} characters; the most is {LONGEST}: choose values by in (…)")
    source = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of what the walk refuses anyway, or takes as it stands
            tree = ast.parse(source, mode="eval")
    except SyntaxError as error:
        place = len(source) - 1  # without an offset it ends too early
        if error.offset:
            place = min(_characters(source, error.lineno or 1, error.offset - 1), place)
        where = f"at character {place + 1}, '{_quoted(source[place:])}': {one_line(str(error.msg))}"
        raise BenchmarkError(f'the filter cannot be read {where}; write e.g. dataset == "tissue" and rate <= 0.4, text in quotes') from None
    except (ValueError, MemoryError, RecursionError):
        raise BenchmarkError("the filter cannot be read: it is too deeply nested, or holds characters that are none") from None
    reader = _Reader(source)
    test = reader.test(tree.body, 0)
    return Filter(text, tuple(dict.fromkeys(reader.names)), test)


@dataclass(frozen=True)
class _Name:
    """A name of a row: what it is called, what it holds, and where it stands."""

    name: str
    holds: str
    node: ast.expr

    def values(self, row: Row) -> tuple[Value, ...]:
        """All that the name means in a row, which are several for a method's two names; empty where it is missing."""
        return tuple(value for value in values_of(row, self.name) if value is not None)


class _Reader:
    """Turns the tree into a function of a row, node by node; whatever is not named here is refused."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.names: list[str] = []

    def test(self, node: ast.expr, depth: int) -> Test:
        """A condition."""
        if depth > DEEPEST:
            raise self.error(node, f"is nested more than {DEEPEST} deep; use in (…) or fewer parentheses")
        if isinstance(node, ast.BoolOp):
            parts = [self.test(value, depth + 1) for value in node.values]
            every = isinstance(node.op, ast.And)
            return lambda row: all(part(row) for part in parts) if every else any(part(row) for part in parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.test(node.operand, depth + 1)
            return lambda row: not inner(row)
        if isinstance(node, ast.Compare):
            ends = [node.left, *node.comparators]
            pairs = [self.comparison(*pair) for pair in zip(ends, node.ops, ends[1:], strict=False)]
            return lambda row: all(pair(row) for pair in pairs)
        name = self.name(node)
        if name is None:
            raise self.error(node, "is no condition; compare a name with a value, e.g. rate <= 0.4")
        if name.holds not in (TRUTH, ANY):
            raise self.error(node, f"holds {name.holds} and is no condition by itself; compare it, e.g. {name.name} == …")
        return lambda row: any(value is True for value in name.values(row))

    def comparison(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Test:
        """One comparison of a chain."""
        if isinstance(op, (ast.In, ast.NotIn)):
            return self.membership(left, right, isinstance(op, ast.In))
        if isinstance(op, (ast.Is, ast.IsNot)):
            raise self.error(right, "follows 'is', which is not part of a filter; write == or !=")
        one, other = self.name(left), self.name(right)
        if one is None and other is None:
            raise self.error(left, "is compared with a value; one side must be a name")
        if type(op) in ORDERS:
            return self.order(one, left, *ORDERS[type(op)], other, right)
        equal = isinstance(op, ast.Eq)
        if one is not None and other is not None:
            return lambda row: _equal(one.values(row), other.values(row), equal)
        name, node = (one, right) if one is not None else (other, left)
        assert name is not None
        value = self.literal(node)
        if value is None:
            return lambda row: bool(name.values(row)) != equal
        self.check(name, value, node)
        return lambda row: _equal(name.values(row), (value,), equal)

    def membership(self, left: ast.expr, right: ast.expr, inside: bool) -> Test:
        name = self.name(left)
        if name is None:
            raise self.error(left, "stands before 'in'; expected a name")
        if not isinstance(right, (ast.Tuple, ast.List)):
            raise self.error(right, f'stands after \'in\'; expected a list, e.g. {name.name} in ("a", "b")')
        allowed = tuple(self.literal(item) for item in right.elts)
        for value, item in zip(allowed, right.elts, strict=True):
            if value is None:
                raise self.error(item, "may not stand in a list; write == None")
            self.check(name, value, item)
        return lambda row: _equal(name.values(row), allowed, inside)

    def order(
        self, one: _Name | None, left: ast.expr, sign: str, compare: Callable[[Any, Any], bool], other: _Name | None, right: ast.expr
    ) -> Test:
        sides: list[_Name | float] = []
        for name, node in ((one, left), (other, right)):
            if name is not None and name.holds not in (NUMBER, ANY):
                raise self.error(node, f"holds {name.holds}, so {sign} says nothing of it; use == or in")
            value = None if name is not None else self.literal(node)
            if name is None and not _is_number(value):
                against = one or other
                raise self.error(node, f"is no number, but {against.name if against else ''} {sign} … needs one")
            sides.append(value if name is None else name)  # type: ignore[arg-type]

        def holds(row: Row) -> bool:
            numbers = [_number(side, row, sign) if isinstance(side, _Name) else side for side in sides]
            return None not in numbers and compare(*numbers)

        return holds

    def check(self, name: _Name, value: Value, node: ast.expr) -> None:
        """Refuse to compare a name with what it never is."""
        if name.holds != ANY and _type(value) != name.holds:
            raise self.error(node, f"is {_type(value)}, but {name.name} holds {name.holds}")

    def name(self, node: ast.expr) -> _Name | None:
        """The name that a node is, None if it is none; BenchmarkError for one that does not exist."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            found = _Name(self.key(node), NUMBER, node)
        elif isinstance(node, ast.Attribute):
            if not isinstance(node.value, ast.Name) or node.value.id not in KINDS:
                raise self.error(node, f"is no option; write one of {', '.join(KINDS)}, a dot and a parameter, e.g. method.lambda_")
            found = _Name(f"{node.value.id}.{node.attr}", ANY, node)
        elif isinstance(node, ast.Name):
            if node.id not in TYPES:
                step = f'at character {self.place(node)} of the filter; text needs quotes: "{node.id}"'
                raise unknown_name("name in the filter", node.id, [*TYPES, "True", "False", "None"], step)
            found = _Name(node.id, TYPES[node.id], node)
        else:
            return None
        self.names.append(found.name)
        return found

    def key(self, node: ast.expr) -> str:
        """``aux/m1/nll``, which Python reads as a division of names; the last part may be a number, a class."""
        parts: list[str] = []
        inner = node
        while isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Div):
            last = inner.right
            if isinstance(last, ast.Name):
                parts.append(last.id)
            elif isinstance(last, ast.Constant) and type(last.value) is int:
                parts.append(str(last.value))
            else:
                raise self.error(node, "is no metric; write names with / between them, e.g. selected/accuracy")
            inner = inner.left
        if not isinstance(inner, ast.Name):
            raise self.error(node, "is no metric; write names with / between them, e.g. selected/accuracy")
        return "/".join([inner.id, *reversed(parts)])

    def literal(self, node: ast.expr) -> Value:
        """A number, a text, True, False or None."""
        sign = 1
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            sign = -1 if isinstance(node.op, ast.USub) else 1
            node = node.operand
            if not isinstance(node, ast.Constant) or not _is_number(node.value):
                raise self.error(node, "follows a sign and is no number")
        if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, (bool, int, float, str))):
            return sign * node.value if _is_number(node.value) else node.value
        raise self.error(node, "is not part of a filter; expected a number, a text in quotes, True, False or None")

    def place(self, node: ast.expr) -> int:
        """Where a node begins, in characters from 1."""
        return self.characters(node.lineno, node.col_offset) + 1

    def characters(self, line: int, column: int) -> int:
        """How many characters stand before a place, whose column Python counts in bytes."""
        text = self.source.split("\n")[line - 1].encode()[:column].decode(errors="ignore")
        return _characters(self.source, line, len(text))

    def error(self, node: ast.expr, problem: str) -> BenchmarkError:
        first, last = self.place(node), self.characters(node.end_lineno or node.lineno, node.end_col_offset or 0)
        return BenchmarkError(f"the filter, character {first}: '{_quoted(self.source[first - 1 : last])}' {problem}")


def _characters(source: str, line: int, column: int) -> int:
    return sum(len(earlier) + 1 for earlier in source.split("\n")[: line - 1]) + column


def _quoted(text: str) -> str:
    return one_line(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")


def _is_number(value: Value) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _type(value: Value) -> str:
    return TRUTH if isinstance(value, bool) else NUMBER if isinstance(value, (int, float)) else TEXT


def _equal(values: Sequence[Value], others: Sequence[Value], equal: bool) -> bool:
    """Whether any value is one of the others, or for ``equal=False`` whether none is; False where there is nothing to compare."""
    return bool(values) and bool(others) and any(_type(v) == _type(o) and v == o for v in values for o in others) == equal


def _number(name: _Name, row: Row, sign: str) -> float | None:
    value: Value = next(iter(name.values(row)), None)
    if value is not None and not _is_number(value):
        run = one_line(f"{row['method']} on {row['dataset']}")
        raise BenchmarkError(f"the filter: {name.name} {sign} … needs numbers, but of {run} it holds {_quoted(repr(value))}; use == or in")
    return None if value is None else value
