"""Zipkin's own DependencyLinker, from Maven, in a process of its own."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ctrlplane_stream.local.cache import cache_folder, cached

_HERE = Path(__file__).parent
_VERSION = "3.5.1"

Links = dict[tuple[str, str], tuple[int, int]]


class ZipkinLinker:
    """``links(traces)``: what Zipkin makes of some traces, each a list of lines as ``Linker.java`` reads them."""

    def __init__(self, classes: Path) -> None:
        command = ["java", "-Xmx256m", "-XX:+UseSerialGC", "-cp", f"{classes}:{classes}/lib/*", "Linker"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def links(self, traces: list[list[str]]) -> Links:
        """(Caller, callee) -> (calls, errors)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("".join("\n".join([*trace, "."]) + "\n" for trace in traces) + "=\n")
        self._process.stdin.flush()
        found: Links = {}
        while (line := self._process.stdout.readline().strip()) != "=":
            assert line, "Zipkin's linker ended"
            caller, callee, calls, errors = line.split(" ")
            found[caller, callee] = (int(calls), int(errors))
        return found

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=20)


def _build(folder: Path) -> None:
    pom = str(_HERE / "pom.xml")
    subprocess.run(["mvn", "-B", "-q", "-f", pom, "dependency:copy-dependencies", f"-DoutputDirectory={folder / 'lib'}"], check=True)
    subprocess.run(["javac", "-cp", f"{folder}/lib/*", "-d", str(folder), str(_HERE / "Linker.java")], check=True)


@pytest.fixture(scope="session")
def zipkin(require: Callable[[list[str]], None]) -> Iterator[ZipkinLinker]:
    require([f"{tool} is missing: install Maven and a JDK 17 or later" for tool in ("mvn", "javac", "java") if shutil.which(tool) is None])
    recipe = (_HERE / "pom.xml").read_bytes() + (_HERE / "Linker.java").read_bytes()
    linker = ZipkinLinker(cached(cache_folder() / "zipkin" / _VERSION, recipe, _build))
    yield linker
    linker.close()
