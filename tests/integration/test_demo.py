"""The demo is the product's main job: every act plays on real parts, and the topics say what it promises."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from ctrlplane_stream.local.demo.play import ALL_ACTS
from ctrlplane_stream.local.demo.report import DemoReport

pytestmark = pytest.mark.timeout(1500)


def test_every_act_keeps_its_promise(tmp_path: Path) -> None:
    """`ACTS=all make demo`: exit status 0, and a report that holds every act."""
    report, logs = tmp_path / "report.json", tmp_path / "logs"
    command = [sys.executable, "-m", "ctrlplane_stream", "demo", "--acts", "all", "--report", str(report), "--logs", str(logs)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=1400, check=False)
    assert report.exists(), f"the demo ended with status {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    found = msgspec.json.decode(report.read_bytes(), type=DemoReport)
    broken = {act.name: act.failures for act in found.acts if not act.kept}
    assert not broken, f"{broken}\n{done.stdout[-6000:]}"
    assert done.returncode == 0
    assert [act.name for act in found.acts] == [act.name for act in ALL_ACTS]
