"""What every test stands on: real parts or an honest skip, and a watchdog that nothing is left running.

``REQUIRE_REAL=1`` (as in ``.ci/run``) turns a missing real part into a failure: nothing is skipped in silence there.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from ctrlplane_stream.local import cache
from ctrlplane_stream.local.kafka import EmbeddedKafka, MissingPart, NamedKafka, missing_parts, open_broker
from tests.spreading import by_group, longest_first

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling
    from xdist.workermanage import WorkerController

_LEFT = "left running"
_left_by_workers = pytest.StashKey[list[str]]()
_PR_SET_CHILD_SUBREAPER = 36

# No deadline: how long an example takes says more of the machine than of the code. CI draws the same examples each time, so that
# a red run is red for its change; on a developer's machine they differ, and a failure prints what replays it.
settings.register_profile("here", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session")
def require() -> Callable[[list[str]], None]:
    """``require(missing)``: skip for want of a real part, or fail where REQUIRE_REAL=1 promises that none is wanting."""
    return _require


def _require(missing: list[str]) -> None:
    if missing and os.environ.get("REQUIRE_REAL") == "1":
        pytest.fail("; ".join(missing), pytrace=False)
    if missing:
        pytest.skip("; ".join(missing))


@pytest.fixture(scope="session")
def kafka() -> Iterator[EmbeddedKafka | NamedKafka]:
    """A real broker for the whole session, at ``kafka.bootstrap``: use topics of your own (``topic_prefix``), never stop it."""
    _require(missing_parts())
    with ExitStack() as stack:
        try:
            broker = stack.enter_context(open_broker())
        except MissingPart as missing:  # one that is named, and does not answer
            pytest.fail(str(missing), pytrace=False)
        yield broker


@pytest.fixture
def own_kafka() -> Iterator[EmbeddedKafka]:
    """A real broker for one test, to be killed and restarted at will."""
    _require(missing_parts({**os.environ, "KAFKA_BOOTSTRAP_SERVERS": ""}))
    with EmbeddedKafka(heap_megabytes=256) as broker:
        yield broker


def pytest_configure(config: pytest.Config) -> None:
    """What takes minutes to build says so where people look: a test captures what is written, and would be silent meanwhile."""
    capture = config.pluginmanager.getplugin("capturemanager")

    def tell(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", file=sys.stderr, flush=True)

    cache.tell = tell


def pytest_sessionstart(session: pytest.Session) -> None:
    """Adopt whatever our children leave behind (Linux), so that the watchdog sees orphans too."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> "LoadScopeScheduling":
    """With ``-n``: whole groups go to workers, see there."""
    return by_group(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker of ``-n``: the same order for all, and what takes longest first."""
    if hasattr(config, "workerinput"):
        longest_first(items)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session where a test left a process running; a worker of ``-n`` tells the one who can."""
    left = _running_children()
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[_LEFT] = left
        return
    left = list(dict.fromkeys([*session.config.stash.get(_left_by_workers, []), *left]))
    if left:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line("\nleft running by the tests:\n  " + "\n  ".join(left), red=True)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: "WorkerController", error: object) -> None:
    """Hear from a worker that ends what it leaves."""
    output = getattr(node, "workeroutput", None) or {}
    node.config.stash.setdefault(_left_by_workers, []).extend(output.get(_LEFT, []))


def _running_children() -> list[str]:
    """``pid command`` of each living child, but for the interpreter's own resource tracker."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            command = stat.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == os.getpid() and state != "Z" and "resource_tracker" not in command:
            found.append(f"{stat.parent.name} {command}")
    return found
