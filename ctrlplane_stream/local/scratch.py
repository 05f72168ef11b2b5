"""Temporary folders that are removed even after their owner was killed: by the next one who makes one.

The name carries the owner's process id; whoever makes a folder first removes those of the same name whose owner is gone.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path


def scratch_folder(name: str) -> Path:
    """A fresh folder ``ctrlplane-<name>-<pid>-…`` that its owner removes; raises OSError where none can be made."""
    base = Path(tempfile.gettempdir())
    owner = re.compile(rf"ctrlplane-{re.escape(name)}-(\d+)-.*")
    for folder in base.glob(f"ctrlplane-{name}-*"):
        named = owner.fullmatch(folder.name)
        if named and not _alive(int(named[1])):
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"ctrlplane-{name}-{os.getpid()}-", dir=base))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
