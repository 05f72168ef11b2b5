"""What the GitOps actuator costs: ``python -m bench.gitops [COMMITS] [TARGETS]``.

A bare repository on disk with a history of so many commits (10,000) and a file for each of so many targets (500), served by git
itself. The first look, which fetches and reads the whole history; a minute of looks at rest, each target every 10 s; single
commands, from ``apply`` to its outcome; and commands while somebody else pushes all the time.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ctrlplane_stream.actuators.gitops.actuator import GitOps
from ctrlplane_stream.actuators.gitops.placement import Field, GitPlace, Repository, Weights, Writes
from ctrlplane_stream.actuators.gitops.yaml_text import Locator
from ctrlplane_stream.actuators.port import WorldUnreachable
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.identity import Artifact, ServiceKind, Target
from ctrlplane_stream.model.world import Capacity, Cursor, TargetWanted, WantedVersion

_LOOK_SECONDS = 10.0
_REST_SECONDS = 60.0
_COMMANDS = 100


def _history(commits: int, targets: int) -> Iterator[bytes]:
    """A history as ``git fast-import`` takes it: files first, then one small change a commit."""
    yield b"commit refs/heads/main\ncommitter A <a@example.org> 1700000000 +0000\ndata 5\nbegin\n"
    for number in range(targets):
        text = f"images:\n- name: cart # {number}\n  digest: sha256:old\n".encode()
        yield b"M 100644 inline s%d/kustomization.yaml\ndata %d\n%s\n" % (number, len(text), text)
    for number in range(commits - 1):
        text = b"note: %d\n" % number
        yield b"commit refs/heads/main\ncommitter A <a@example.org> %d +0000\ndata 1\n.\n" % (1700000001 + number)
        yield b"M 100644 inline notes/%d.yaml\ndata %d\n%s\n" % (number % 1000, len(text), text)


def _command(target: Target, sequence: int) -> tuple[Command, Cursor]:
    versions = tuple(
        WantedVersion(f"#{n}", Artifact(target.service, "registry.example/any", f"sha256:{n:064x}"), {}, Capacity.FULL, weight)
        for n, weight in ((1, 100 * (sequence % 2)), (2, 100 * (1 - sequence % 2)))
    )
    wanted = TargetWanted(target, ServiceKind.ROUTED, versions, "#1")
    return Command(f"c{sequence}", Verb.SHIFT, target, sequence, wanted, "the benchmark"), Cursor(1, sequence)


async def _measure(repository: Path, folder: Path, targets: list[Target]) -> None:
    where = Repository(str(repository))
    places = {
        target: GitPlace(where, (Field(f"s{n}/kustomization.yaml", Locator("images[name=cart].digest"), Writes.DIGEST),), Weights.COMMIT)
        for n, target in enumerate(targets)
    }
    actuator = GitOps(places.get, folder / "clones", look_seconds=15.0)
    began = time.monotonic()
    await actuator.observe(targets[0])
    print(f"first look: {time.monotonic() - began:.1f} s")
    await _at_rest(actuator, targets)
    print(f"commands: {_quantiles([await _timed(actuator, targets[n % len(targets)], n) for n in range(_COMMANDS)])}")
    pushing = asyncio.create_task(_push_all_the_time(repository, folder))
    times = [await _timed(actuator, targets[n % len(targets)], n) for n in range(_COMMANDS, 2 * _COMMANDS)]
    pushing.cancel()
    print(f"while others push: {_quantiles(times)}")
    await actuator.close()


async def _timed(actuator: GitOps, target: Target, number: int) -> float:
    began = time.monotonic()
    while True:
        try:
            await actuator.apply(*_command(target, number + 1))
            return time.monotonic() - began
        except WorldUnreachable:
            pass  # as the reconcile loop does: again


async def _at_rest(actuator: GitOps, targets: list[Target]) -> None:
    busy, began = time.process_time(), time.monotonic()
    while time.monotonic() - began < _REST_SECONDS:
        turn = time.monotonic()
        await asyncio.gather(*(actuator.observe(target) for target in targets))
        await asyncio.sleep(max(0.0, _LOOK_SECONDS - (time.monotonic() - turn)))
    share = (time.process_time() - busy) / (time.monotonic() - began)
    print(f"at rest, {len(targets)} targets looked at every {_LOOK_SECONDS:.0f} s: {share:.1%} of a core")


async def _push_all_the_time(repository: Path, folder: Path) -> None:
    tree = folder / "somebody"
    await asyncio.to_thread(_git, folder, "clone", "-q", "--depth", "1", f"file://{repository}", str(tree))
    number = 0
    while True:
        number += 1
        (tree / "README").write_text(str(number))
        for arguments in (("add", "-A"), ("commit", "-q", "-m", "by hand"), ("pull", "-q", "--rebase"), ("push", "-q", "origin", "main")):
            await asyncio.to_thread(_git, tree, *arguments)


def _git(folder: Path, *arguments: str) -> None:
    name = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *name, *arguments], cwd=folder, check=False, capture_output=True)


def _quantiles(times: list[float]) -> str:
    last = sorted(times)[len(times) * 99 // 100]
    return f"median {statistics.median(times) * 1000:.0f} ms, 99th percentile {last * 1000:.0f} ms of {len(times)}"


def main() -> None:
    """Make the repository and measure."""
    given = [int(argument) for argument in sys.argv[1:3]]
    commits, targets = given + [10_000, 500][len(given) :]
    with tempfile.TemporaryDirectory(prefix="ctrlplane-bench-") as name:
        folder = Path(name)
        _git(folder, "init", "-q", "--bare", "-b", "main", "origin.git")
        repository = folder / "origin.git"
        subprocess.run(["git", "fast-import", "--quiet"], cwd=repository, input=b"".join(_history(commits, targets)), check=True)
        print(f"{commits} commits, {targets} targets")
        asyncio.run(_measure(repository, folder, [Target("production", f"shop/s{n}") for n in range(targets)]))


if __name__ == "__main__":
    main()
