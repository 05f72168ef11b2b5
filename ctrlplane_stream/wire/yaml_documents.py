"""YAML that people wrote, as values; what cannot be read is said in one line, whatever it is.

A few lines of aliases of aliases stand for more values than any machine holds, so what they add is bounded before any value is
made of them. Written out, a file may be as long as it likes.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import yaml
from yaml.constructor import ConstructorError

MOST_BY_ALIASES = 100_000
"""Values that the aliases of a document may stand for: a thousand services that share a hundred fields."""

_T = TypeVar("_T")


class NotReadable(ValueError):
    """Why a text cannot be read as YAML: ``problem``, at the 1-based ``line``."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line, self.problem = line, problem


def yaml_documents(text: str | bytes) -> list[Any]:
    """The values of all documents of a stream. Raises NotReadable."""
    return _read(text, _Loader.all_values)


def yaml_document(text: str | bytes) -> Any:
    """The value of the only document; None of an empty text. Raises NotReadable."""
    return _read(text, _Loader.only_value)


def _read(text: str | bytes, values: Callable[["_Loader"], _T]) -> _T:
    try:
        return values(_Loader(text))
    except RecursionError:
        raise NotReadable(1, "it is nested too deeply") from None
    except yaml.reader.ReaderError as error:
        characters = text if isinstance(text, str) else text.decode("latin-1")
        raise NotReadable(characters.count("\n", 0, error.position) + 1, str(error).partition("\n")[0]) from None
    except yaml.MarkedYAMLError as error:
        raise NotReadable(error.problem_mark.line + 1 if error.problem_mark else 1, error.problem or str(error)) from None


class _Loader(yaml.SafeLoader):
    def all_values(self) -> list[Any]:
        found = []
        while self.check_node():
            found.append(self._value_of(self.get_node()))
        return found

    def only_value(self) -> Any:
        return self._value_of(self.get_single_node())

    def _value_of(self, node: yaml.Node | None) -> Any:
        if node is None:
            return None
        _Sizes().of(node)
        return self.construct_document(node)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:  # a 13th month, an integer of thousands of digits
            raise ConstructorError(None, None, str(error), node.start_mark) from None


class _Sizes:
    """How many values nodes stand for: what an alias refers to counts again for each alias."""

    def __init__(self) -> None:
        self._known: dict[int, int | None] = {}
        self._by_aliases = 0

    def of(self, node: yaml.Node) -> int:
        """Raises ConstructorError where aliases make it too large, or it holds itself."""
        if id(node) not in self._known:
            self._known[id(node)] = None
            size = self._known[id(node)] = 1 + sum(self.of(part) for part in _parts(node))
            return size
        known = self._known[id(node)]
        if known is None:
            raise ConstructorError(None, None, "an alias refers to what it stands in", node.start_mark)
        self._by_aliases += known
        if self._by_aliases > MOST_BY_ALIASES:
            what = f"aliases, also of this, stand for more than {MOST_BY_ALIASES} values"
            raise ConstructorError(None, None, what, node.start_mark)
        return known


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []
