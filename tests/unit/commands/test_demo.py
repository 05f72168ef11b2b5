"""What ``demo`` leaves behind where it is interrupted in the middle of making something."""

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from ctrlplane_stream.commands import demo as module
from ctrlplane_stream.commands.demo import demo
from ctrlplane_stream.ending import ending_signals


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary folders are made, for a demo that may do with its process what it likes."""
    handlers = {number: signal.getsignal(number) for number in ending_signals()}
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(module, "missing_parts", list)
    monkeypatch.setattr(module, "end_with_terminal", lambda: None)
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_folder_that_was_being_made_as_the_demo_was_interrupted_goes_with_it(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was made, and its maker had no time to take it into a ``with``."""
    made: list[Path] = []

    @contextmanager
    def interrupted() -> Iterator[None]:
        made.append(Path(tempfile.mkdtemp(prefix="ctrlplane-run-")))
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(module, "open_broker", interrupted)
    result = CliRunner().invoke(demo)

    assert result.exit_code == 1
    assert "interrupted; nothing is left running" in result.output
    assert len(made) == 1
    assert list(base.iterdir()) == []
    assert tempfile.gettempdir() == str(base)
