"""What the import rules cannot see: ``datetime`` is arithmetic in the core, never a clock, and no order comes from a set."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ctrlplane_stream

_PACKAGE = Path(ctrlplane_stream.__file__).parent
_CORE = sorted(path for layer in ("model", "decision") for path in (_PACKAGE / layer).rglob("*.py"))
_CLOCKS = {"now", "utcnow", "today"}


@pytest.mark.parametrize("path", _CORE, ids=lambda p: str(p.relative_to(_PACKAGE)))
def test_the_core_reads_no_clock_and_iterates_over_no_set(path: Path) -> None:
    """Neither ``datetime.now()`` and its like, nor ``for x in {…}`` or ``for x in set(…)``."""
    assert list(_impurities(path.read_text())) == []


@pytest.mark.parametrize("source", ["datetime.now(UTC)", "date.today()", "for x in {1, 2}: pass", "[x for x in set(y)]"])
def test_the_check_sees_what_it_is_for(source: str) -> None:
    """Each planted impurity is found."""
    assert list(_impurities(source))


def _impurities(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _reads_clock(node.func):
            yield f"line {node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.For | ast.comprehension) and _is_set(node.iter):
            yield f"iterates over {ast.unparse(node.iter)}"


def _reads_clock(function: ast.Attribute) -> bool:
    return function.attr in _CLOCKS and isinstance(function.value, ast.Name) and function.value.id in {"date", "datetime"}


def _is_set(node: ast.expr) -> bool:
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"set", "frozenset"}
    return called or isinstance(node, ast.Set | ast.SetComp)
