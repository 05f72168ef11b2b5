"""What is done in C where it was compiled: weighing a window's evidence, adding up latencies and reading quantiles from them.

These run some hundred times a window. Each has its twin in Python, which says what is right and gives the same bits: so a verdict can be
derived again on a machine without the library. What is unusual (no finite number, buckets far apart) the C itself leaves to the twin.
``scripts/compile_native.py`` makes the library when the package is built; without a compiler, or Python's headers, all goes as without.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

_Twin = TypeVar("_Twin", bound=Callable[..., Any])

judging: ModuleType | None
_why: str | None
try:
    from ctrlplane_stream.decision.native import judging as _compiled

    judging, _why = _compiled, None
except ImportError as error:  # none, or one for another Python or machine
    judging, _why = None, f"{error}"


def why_not_compiled() -> str | None:
    """Why windows are judged the slower way, in words; None where they are not."""
    return _why


def compiled(twin: _Twin) -> _Twin:
    """The function of the twin's name in C, called as the twin is but by position only; the twin itself where nothing was compiled."""
    if judging is None:
        return twin
    judging.name_twin(twin.__name__, twin)
    function: _Twin = getattr(judging, twin.__name__)
    return function
