"""Each module of the core can be imported first: where two need each other, it depends on who asks before whom."""

import subprocess
import sys
from pathlib import Path

import ctrlplane_stream.decision

_EACH = """
import importlib, os, sys
for name in sys.argv[1:]:
    if os.fork() == 0:
        importlib.import_module("ctrlplane_stream.decision." + name)
        os._exit(0)
    if os.wait()[1]:
        sys.exit(name)
"""


def test_each_module_can_be_imported_before_any_other() -> None:
    names = sorted(path.stem for path in Path(ctrlplane_stream.decision.__file__ or "").parent.glob("[a-z]*.py"))
    assert len(names) > 30
    done = subprocess.run([sys.executable, "-c", _EACH, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
