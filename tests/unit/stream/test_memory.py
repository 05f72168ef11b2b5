"""Memory that is freed is kept: fetched from the kernel once."""

import subprocess
import sys

import pytest

_FAULTS = """
import resource, sys
from ctrlplane_stream.stream.memory import keep_memory
kept = sys.argv[1] == "keep" and keep_memory()
def batch():
    return [bytearray(24 << 20) for _ in range(3)]
batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_a_second_batch_fetches_no_pages() -> None:
    """72 MB are 18,000 pages, or some dozens of huge ones; untold, the C library gives them back and gets them anew."""
    found = {
        way: int(subprocess.run([sys.executable, "-c", _FAULTS, way], check=True, capture_output=True, text=True).stdout)
        for way in ("keep", "leave")
    }
    assert found["keep"] < found["leave"] / 8, found
