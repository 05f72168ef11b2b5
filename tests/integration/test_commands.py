"""The command line on a real worker and a real broker: a release from `artifact push` to `control force`, seen by `rollout`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ctrlplane_stream.local.processes import ChildProcess
from ctrlplane_stream.settings import Settings

CATALOG = """\
environments:
  lab: {actuator: dry-run, policy: quick}
policies:
  quick:
    steps: [{weight: 100, min_seconds: 0, max_seconds: 600}]
    bake_seconds: 1
    drain_seconds: 0
    drain_limit_seconds: 1
    on_unknown_service: hold
services:
  shop/cart:
    images: [registry.example/shop/cart]
    environments: {lab: {}}
"""
IMAGE = "registry.example/shop/cart"
ROLLOUT = "lab/shop-cart/1"

pytestmark = pytest.mark.timeout(500)


@pytest.fixture
def environ(topics: Settings) -> dict[str, str]:
    """What a user would export to reach the broker, with windows of a second."""
    return {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": topics.kafka_bootstrap_servers,
        "CTRLPLANE_TOPIC_PREFIX": topics.topic_prefix,
        "CTRLPLANE_PARTITIONS": str(topics.partitions),
        "CTRLPLANE_WINDOW_SECONDS": "1",
        "CTRLPLANE_LATENESS_SECONDS": "1",
    }


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(environ: dict[str, str]) -> Run:
    """Runs `ctrlplane-stream` with these words."""

    def command(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "ctrlplane_stream", *words],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return command


@pytest.fixture
def worker(environ: dict[str, str], tmp_path: Path) -> Iterator[ChildProcess]:
    """All roles of the worker."""
    with ChildProcess(
        "worker", [sys.executable, "-m", "ctrlplane_stream", "worker"], log=tmp_path / "worker.log", environ=environ
    ) as child:
        yield child


def _until(run: Run, words: tuple[str, ...], holds: Callable[[Any], bool], seconds: float, worker: ChildProcess) -> Any:
    """The JSON that the command prints once ``holds``; fails with what it said last."""
    deadline, said = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        done = run(*words, "--json")
        said = done.stdout + done.stderr
        if done.returncode == 0 and holds(found := json.loads(done.stdout)):
            return found
        time.sleep(0.5)
    pytest.fail(f"{words} after {seconds} s: {said[-1500:]}\n{worker.log_tail(15)}")


def test_a_release_from_push_to_force(run: Run, worker: ChildProcess, tmp_path: Path) -> None:
    """A service that no trace ever showed is held, as the policy wants, says so, and completes when it is forced."""
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(CATALOG)
    assert run("catalog", "diff", str(catalog)).returncode == 3
    assert run("catalog", "apply", str(catalog)).returncode == 0
    assert run("catalog", "diff", str(catalog)).returncode == 0
    pushed = run("artifact", "push", f"{IMAGE}@sha256:{'ab' * 32}", "--environment", "lab", "--json")
    assert pushed.returncode == 0, pushed.stderr
    assert json.loads(pushed.stdout)["topic"].endswith("artifacts")
    held = _until(run, ("rollout", ROLLOUT), lambda found: bool(found["rollout"]["holds"]), 120, worker)
    assert [r["id"] for r in json.loads(run("rollouts", "lab", "--json").stdout)] == [ROLLOUT]
    assert held["next_command"].startswith("ctrlplane-stream control ")
    assert held["reasons"], "each decision has its reason"
    forced = run("control", "force", ROLLOUT, "--why", "nothing sends telemetry here")
    assert forced.returncode == 0, forced.stderr
    ended = _until(run, ("rollouts", "lab", "--all"), lambda found: found[0]["phase"] == "completed", 120, worker)
    assert ended[0]["units"][0]["candidate"] == "#1"
    in_words = run("rollout", ROLLOUT)
    assert "force by" in in_words.stdout
    assert "nothing sends telemetry here" in in_words.stdout


def test_what_is_wrong_is_said_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    """A tag instead of a digest, a catalog with a mistake, a rollout that is not there: each with what to do."""
    tag = run("artifact", "push", f"{IMAGE}:latest")
    assert (tag.returncode, "names no digest" in tag.stderr) == (1, True)
    bad = tmp_path / "catalog.yaml"
    bad.write_text(CATALOG.replace("policy: quick", "policy: quik"))
    checked = run("catalog", "check", str(bad))
    assert (checked.returncode, "line 2" in checked.stderr) == (1, True)
    missing = run("rollout", "lab/shop-cart/9")
    assert (missing.returncode, "it has none" in missing.stderr) == (1, True)


def test_without_a_broker_a_command_says_how_to_name_one() -> None:
    """One line, and exit status 1."""
    environ = {k: v for k, v in os.environ.items() if k != "KAFKA_BOOTSTRAP_SERVERS"}
    command = [sys.executable, "-m", "ctrlplane_stream", "rollouts", "lab"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, "KAFKA_BOOTSTRAP_SERVERS" in done.stderr) == (1, True)
    assert len(done.stderr.strip().splitlines()) == 1


def test_json_is_json(run: Run) -> None:
    """Every listing can be read by a program."""
    assert msgspec.json.decode(run("rollouts", "lab", "--json").stdout) == []
