"""An actuator of somebody else's, from installation to contract: the example package, away from the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

_EXAMPLE = Path(__file__).parents[3] / "examples" / "actuator"
_ASK = """
from ctrlplane_stream.actuators.named import actuator_named, known_actuators
from ctrlplane_stream.settings import Settings
assert "upstreams" in known_actuators(), known_actuators()
print(actuator_named("upstreams", Settings()).name)
"""


def _run(folder: Path, installed: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_package_with_an_entry_point_brings_an_actuator_that_keeps_the_contract(tmp_path: Path) -> None:
    """Built, installed beside the product, found by its name, and held against every clause by its own test module."""
    package, installed = tmp_path / "package", tmp_path / "installed"
    shutil.copytree(_EXAMPLE, package)
    _run(tmp_path, installed, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(package))
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    assert _run(tmp_path, installed, "-c", _ASK).strip() == "upstreams"
    said = _run(package, installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    clauses = (_EXAMPLE.parents[1] / "ctrlplane_stream" / "actuators" / "contract" / "clauses.py").read_text().count("@clause")
    assert f"{clauses} passed" in said, said
