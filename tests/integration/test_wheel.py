"""The built wheel carries everything that the program reads at run time."""

import subprocess
import sys
import zipfile
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_ASK = """
from ctrlplane_stream.local import kafka
from ctrlplane_stream.shipped import shipped
from ctrlplane_stream.wire.topics import topic_specs
assert kafka.__file__.startswith({here!r}), kafka.__file__
assert kafka._POM.is_file()
for spec in topic_specs():
    assert spec.schema is None or (shipped("schemas") / spec.schema).is_file(), spec.schema
print(len(topic_specs()))
"""


def test_an_installed_program_finds_topics_schemas_and_the_brokers_pom(tmp_path: Path) -> None:
    """Away from the checkout, from the wheel's own files."""
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-cache-dir",
        "-w",
        str(tmp_path),
        str(_ROOT),
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("ctrlplane_stream-*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    ask = subprocess.run(
        [sys.executable, "-c", _ASK.format(here=str(installed))],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(ask.stdout) == len(list((_ROOT / "topics").glob("*.yaml")))
