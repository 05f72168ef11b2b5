"""The command line on a real worker and a real broker: a release from `artifact push` to `control force`, seen by `rollout`."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from aiokafka import ConsumerRecord
from redis import Redis

from ctrlplane_stream.local.processes import ChildProcess, accepts, free_port
from ctrlplane_stream.model.catalog import Catalog
from ctrlplane_stream.model.facts import OverrideVerb
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.catalog_file import CatalogRecord, catalog_hash, read_catalog_file
from ctrlplane_stream.wire.editions import LINE, TOPIC
from ctrlplane_stream.wire.kafka_clients import publish, read_to_end

CATALOG = """\
environments:
  lab: {actuator: dry-run, policy: quick, notify: "NOTIFY"}
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
  shop/pay:
    images: [registry.example/shop/pay]
    environments: {lab: {}}
"""
KEY, PASSWORD = "a-key-that-nobody-should-see", "a-password-that-nobody-should-see"
IMAGE = "registry.example/shop/cart"
ROLLOUT = "lab/shop-cart/1"
Run = Callable[..., "subprocess.CompletedProcess[str]"]

pytestmark = pytest.mark.timeout(500)


class Webhook(BaseHTTPRequestHandler):
    """Somebody who is told; keeps what came."""

    told: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        """Take a notification."""
        self.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def webhook() -> Iterator[str]:
    """The URL of a webhook, with a key in it as they have."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Webhook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{KEY}"
        server.shutdown()


class RealRedis:
    """A Redis server that wants a password, and loses everything when it is stopped."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self._port}/0"
        self._child = self._start()

    def _start(self) -> ChildProcess:
        told = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--requirepass", PASSWORD]
        child = ChildProcess("redis", ["redis-server", *told, "--dir", str(self._folder)], log=self._folder / "redis.log")
        child.wait_ready(lambda: accepts(self._port), 30.0)
        return child

    def start_again(self) -> None:
        """Back, with nothing."""
        self._child = self._start()

    def stop(self) -> None:
        """End it."""
        self._child.stop()

    def shown(self) -> dict[str, Any]:
        """Everything that a reader finds, each value decoded."""
        with Redis.from_url(self.url) as client:
            return {name.decode(): json.loads(client.get(name) or b"null") for name in client.scan_iter()}  # type: ignore[arg-type]


@pytest.fixture
def redis(tmp_path: Path, require: Callable[[list[str]], None]) -> Iterator[RealRedis]:
    """A real Redis."""
    require([] if shutil.which("redis-server") else ["redis-server is missing: apt-get install redis-server"])
    server = RealRedis(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def environ(environ: dict[str, str], redis: RealRedis) -> dict[str, str]:
    """What a user would export, Redis besides."""
    return {**environ, "CTRLPLANE_REDIS_URL": redis.url}


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


def _wait(holds: Callable[[], Any], worker: ChildProcess) -> None:
    deadline = time.monotonic() + 60.0
    while not holds():
        assert time.monotonic() < deadline, worker.log_tail(15)
        time.sleep(0.3)


def test_a_release_from_push_to_force(
    run: Run, worker: ChildProcess, tmp_path: Path, webhook: str, redis: RealRedis, topics: Settings
) -> None:
    """A service that no trace ever showed is held, as the policy wants, says so, and completes when it is forced.

    The webhook is told of the hold, Redis shows what the commands say, also after it lost everything, and no secret is logged.
    """
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(CATALOG.replace("NOTIFY", webhook))
    differs = run("catalog", "diff", str(catalog))
    assert (differs.returncode, "services.shop/pay: nothing -> {images: [" in differs.stdout) == (3, True), differs.stdout
    applied = run("catalog", "apply", str(catalog), "--wait", "60")
    assert (applied.returncode, "services: shop/cart, shop/pay added" in applied.stdout) == (0, True), applied.stderr
    assert "lab: catalog " in applied.stdout, "the engine says that it took it"
    assert run("catalog", "diff", str(catalog)).returncode == 0
    _catalog_is_shown(run, tmp_path)
    pushed = run("artifact", "push", f"{IMAGE}@sha256:{'ab' * 32}", "--environment", "lab", "--json")
    assert pushed.returncode == 0, pushed.stderr
    told = json.loads(pushed.stdout)
    assert told["topic"].endswith("artifacts")
    assert f"{ROLLOUT}: moves shop/cart nothing → #1" in "\n".join(told["answers"][0]["reasons"])
    again = run("artifact", "push", f"{IMAGE}@sha256:{'ab' * 32}")
    assert (again.returncode, "is already version #1" in again.stdout) == (0, True), "known already, and all is well"
    foreign = run("artifact", "push", f"registry.example/other@sha256:{'ab' * 32}")
    assert (foreign.returncode, "registry.example/other" in foreign.stderr) == (1, True)
    held = _until(run, ("rollout", ROLLOUT), lambda found: bool(found["rollout"]["holds"]), 120, worker)
    assert [r["id"] for r in json.loads(run("rollouts", "lab", "--json").stdout)] == [ROLLOUT]
    assert held["next_command"].startswith("ctrlplane-stream control ")
    assert held["reasons"], "each decision has its reason"
    _wait(lambda: any(told["data"]["event"] == "held" for told in Webhook.told), worker)
    told = next(told["data"] for told in Webhook.told if told["data"]["event"] == "held")
    assert (told["rollout"], told["next_command"].split()[:2]) == (ROLLOUT, ["ctrlplane-stream", "control"])
    place = f"{topics.topic_prefix}ctrlplane/lab"
    _wait(lambda: redis.shown().get(f"{place}/rollout/{ROLLOUT}", {}).get("holds"), worker)
    redis.stop()
    _wait(lambda: "Redis does not answer" in worker.log.read_text(), worker)
    redis.start_again()
    _wait(lambda: redis.shown().get(f"{place}/rollout/{ROLLOUT}", {}).get("holds"), worker)
    forced = run("control", "force", ROLLOUT, "--why", "nothing sends telemetry here")
    assert (forced.returncode, f"{ROLLOUT} forced: gates are skipped" in forced.stdout) == (0, True), forced.stderr
    ended = _until(run, ("rollouts", "lab", "--all"), lambda found: found[0]["phase"] == "completed", 120, worker)
    assert ended[0]["units"][0]["candidate"] == "#1"
    _wait(lambda: redis.shown()[f"{place}/rollout/{ROLLOUT}"]["phase"] == "completed", worker)
    assert redis.shown()[f"{place}/target/shop/cart"]["stable"] == "#1"
    log = worker.log.read_text()
    assert not [secret for secret in (KEY, PASSWORD) if secret in log or secret in run("doctor").stdout]
    in_words = run("rollout", ROLLOUT)
    assert "force by" in in_words.stdout
    assert "nothing sends telemetry here" in in_words.stdout
    _every_verb_is_answered(run, worker)
    again = json.loads(run("replay", "--json").stdout)
    assert (again["found"], again["decisions"] > 20) == ([], True), "the same facts give the same decisions"
    policy = tmp_path / "policy.yaml"
    policy.write_text("on_unknown_service: soak\nsteps: [{weight: 100, min_seconds: 0}]\nbake_seconds: 1\n")
    (other,) = json.loads(run("replay", "--policy", str(policy), "--json").stdout)
    assert other["rollouts"][0]["recorded"]["phase"] == "completed"
    assert "on_unknown_service: hold -> soak" in other["differences"]["shop/cart"], "why it may end otherwise"


POISONED = """
from ctrlplane_stream.decision import engine
decide = engine.decide
def poisoned(state, fact, moment):
    if getattr(fact, "why", None) == "poison":
        raise ValueError("poisoned")
    return decide(state, fact, moment)
engine.decide = poisoned
from ctrlplane_stream.cli import main
main()
"""
"""A program whose engine raises on an override that gives this reason."""


def test_an_environment_that_stands_still_is_told_wherever_people_look(
    run: Run, environ: dict[str, str], metrics_port: int, tmp_path: Path, webhook: str
) -> None:
    """With the offset, what was raised and what to type; nothing is found any more once the fact is passed over."""
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(CATALOG.replace("NOTIFY", webhook))
    alone = [sys.executable, "-c", POISONED, "worker", "--role", "engine", "--metrics-port", str(metrics_port)]
    with (
        ChildProcess("engine", alone, log=tmp_path / "engine.log", environ=environ) as engine,
        ChildProcess("project", [sys.executable, "-m", "ctrlplane_stream", "worker", "--role", "project"], log=tmp_path / "project.log",
                     environ=environ),
    ):  # fmt: skip
        assert run("catalog", "apply", str(catalog), "--wait", "60").returncode == 0, engine.log_tail()
        assert run("artifact", "push", f"{IMAGE}@sha256:{'1' * 64}", "--wait", "60").returncode == 0, engine.log_tail()
        parked = run("control", "freeze", "lab", "--why", "poison", "--wait", "60", "--json")
        said = json.loads(parked.stdout)
        assert (parked.returncode, "(ValueError: poisoned)" in said["error"]) == (1, True), parked.stdout
        skip = said["error"].partition("pass over the fact: `ctrlplane-stream ")[2].partition(" --why REASON")
        offset = skip[2].partition("--fact-offset ")[2].partition("`")[0]
        still = f"lab stands still: fact {offset} cannot be decided (ValueError: poisoned)"

        waits = run("control", "pause", "lab", "--why", "y", "--wait", "2")
        assert (waits.returncode, still in waits.stdout, "control abort lab" in waits.stdout) == (3, True, True), waits.stdout
        doctor = {found["check"]: found for found in json.loads(run("doctor", "--json").stdout)}["environments"]
        assert (doctor["health"], still in doctor["what"], f"--fact-offset {offset}" in doctor["remedy"]) == ("wrong", True, True)
        assert still in run("rollouts", "lab").stdout.splitlines()[0]
        listed = run("rollouts", "lab", "--json")
        assert (still in listed.stderr, still in json.loads(listed.stdout)[0]["waiting_for"]) == (True, True), listed.stdout
        told = json.loads(run("rollout", ROLLOUT, "--json").stdout)
        assert (told["standstill"]["fact_offset"], told["next_command"].split()[2]) == (int(offset), "skip")
        assert still in (tmp_path / "engine.log").read_text()
        _wait(lambda: any(event["data"]["event"] == "parked" for event in Webhook.told), engine)
        assert _parked(metrics_port) == 1.0
        assert run("artifact", "push", f"{IMAGE.replace('cart', 'pay')}@sha256:{'2' * 64}", "--wait", "0").returncode == 0
        assert _phases_under_another_policy(run, tmp_path).keys() == {"shop/cart"}, "what waits was not decided"

        assert run(*skip[0].split(), "--fact-offset", offset, "--why", "y", "--wait", "60").returncode == 0
        doctor = {found["check"]: found for found in json.loads(run("doctor", "--json").stdout)}["environments"]
        assert (doctor["health"], doctor["what"]) == ("ok", "none stands still, and the inputs hold what was decided of them")
        assert _parked(metrics_port) == 0.0
        _wait(lambda: len(json.loads(run("rollouts", "lab", "--json").stdout)) == 2, engine)
        phases = _phases_under_another_policy(run, tmp_path)
        assert (phases.keys(), "queued" in phases.values()) == ({"shop/cart", "shop/pay"}, False), "the freeze was skipped"


def _phases_under_another_policy(run: Run, folder: Path) -> dict[str, str]:
    """Where each service that is moved in the recording would be."""
    policy = folder / "policy.yaml"
    policy.write_text("steps: [{weight: 100, min_seconds: 0}]\n")
    said = run("replay", "--policy", str(policy), "--json")
    assert said.returncode == 0, said.stderr
    (told,) = json.loads(said.stdout)
    return {service: one["other"]["phase"] for one in told["rollouts"] for service in one["changed"]}


def _parked(port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith("ctrlplane_parked_environments{"))


def test_a_mistyped_actuator_is_asked_by_its_right_name_as_soon_as_the_catalog_has_that(
    run: Run, worker: ChildProcess, tmp_path: Path
) -> None:
    """No worker has to be started again for it, and what waited goes on."""
    catalog = tmp_path / "catalog.yaml"
    right = CATALOG.replace(', notify: "NOTIFY"', "").replace("on_unknown_service: hold", "on_unknown_service: soak")
    catalog.write_text(right.replace("dry-run", "dry-rnu"))
    assert run("catalog", "apply", str(catalog), "--wait", "60").returncode == 0
    assert run("artifact", "push", f"{IMAGE}@sha256:{'ab' * 32}", "--environment", "lab").returncode == 0
    _until(run, ("rollout", ROLLOUT), lambda found: "dry-rnu" in str(found["rollout"]), 120, worker)
    catalog.write_text(right)
    assert run("catalog", "apply", str(catalog), "--wait", "60").returncode == 0
    assert run("control", "resume", ROLLOUT, "--why", "it has its name", "--wait", "60").returncode == 0
    _until(run, ("rollout", ROLLOUT), lambda found: found["rollout"]["phase"] == "verifying", 60, worker)


def test_an_applied_catalog_takes_off_what_it_replaces_and_what_was_refused(run: Run, topics: Settings, tmp_path: Path) -> None:
    """Under one key for all the broker would have kept the refused one, the later, and not the one that was accepted."""
    first, rival, second = (tmp_path / f"{name}.yaml" for name in ("first", "rival", "second"))
    for file, name in ((first, "cart"), (rival, "mailer"), (second, "till")):
        file.write_text(CATALOG.replace(', notify: "NOTIFY"', "").replace("shop/pay", f"shop/{name}-too"))
    assert run("catalog", "apply", str(first), "--wait", "0").returncode == 0
    refused = CatalogRecord(found := _catalog_of(rival), catalog_hash(found), "0" * 64, "bob")
    asyncio.run(publish(topics, TOPIC, msgspec.json.encode(refused), key="bob's", beside=LINE))
    assert run("catalog", "apply", str(second), "--wait", "0").returncode == 0
    assert "shop/till-too" in run("catalog", "show").stdout
    assert len({record.partition for record in asyncio.run(_records(topics))}) == 1
    last = {record.key: record.value for record in asyncio.run(_records(topics))}
    assert [value is not None for value in last.values()] == [False, False, True]


def _catalog_of(file: Path) -> Catalog:
    found = read_catalog_file(file.read_text())
    assert isinstance(found, Catalog)
    return found


async def _records(topics: Settings) -> list[ConsumerRecord]:
    return [record async for record in read_to_end(topics, TOPIC)]


def _catalog_is_shown(run: Run, folder: Path) -> None:
    """What is in force as a file that changes nothing, and with everything there is to know of it."""
    shown, copy = run("catalog", "show"), folder / "copy.yaml"
    copy.write_text(shown.stdout)
    assert run("catalog", "diff", str(copy)).returncode == 0
    whole = json.loads(run("catalog", "show", "--json").stdout)
    assert f"# catalog {whole['hash']}" in shown.stdout
    assert (whole["based_on"], whole["at_ms"] > 0, sorted(whole["catalog"]["services"])) == (None, True, ["shop/cart", "shop/pay"])


_SERVICES = {OverrideVerb.PIN: "lab:shop/cart", OverrideVerb.UNPIN: "lab:shop/cart", OverrideVerb.ADOPT: "lab:shop/pay"}
"""Verbs that are about a service, and which one they are said of."""


def _every_verb_is_answered(run: Run, worker: ChildProcess) -> None:
    """Each verb of `control` says at the prompt what the engine made of it: applied, or refused with the reason."""
    whole_environment = {OverrideVerb.FREEZE, OverrideVerb.UNFREEZE, OverrideVerb.SKIP}
    refused = {OverrideVerb.PROMOTE, OverrideVerb.FORCE, OverrideVerb.RETRY}  # of what has completed
    idle = {OverrideVerb.PAUSE, OverrideVerb.RESUME, OverrideVerb.ABORT, OverrideVerb.REVERT}  # the same
    for verb in OverrideVerb:
        scope = "lab" if verb in whole_environment else _SERVICES.get(verb, ROLLOUT)
        more = ["--version", "#1"] if verb in {OverrideVerb.PIN, OverrideVerb.REVERT} else []
        more += ["--fact-offset", "0"] if verb is OverrideVerb.SKIP else []
        more += ["--artifact", f"registry.example/shop/pay@sha256:{'cd' * 32}"] if verb is OverrideVerb.ADOPT else []
        done = run("control", str(verb), scope, "--why", "to see", "--who", "tester", "--json", "--wait", "60", *more)
        told = json.loads(done.stdout)
        answers = told["answers"]
        assert len(answers) == 1, worker.log_tail(15)
        assert f"{verb} by tester (to see): " in "".join(answers[0]["reasons"])
        in_vain = verb in refused | idle | {OverrideVerb.SKIP}  # of this one the engine cannot tell, and the log does
        assert (answers[0]["refused"], answers[0]["idle"], done.returncode) == (verb in refused, verb in idle, int(in_vain)), answers
        assert (told["status"], told["error"] is None) == (done.returncode, not in_vain)
        assert verb is not OverrideVerb.SKIP or "fact 0 was decided, and is not parked" in told["error"]
    adopted = _until(run, ("rollout", "lab/shop-pay/1"), lambda found: found["rollout"]["phase"] == "completed", 120, worker)
    assert "since tester says so: to see" in adopted["version_set"]["explanation"][0]
    twice = [run("control", "freeze", "lab", "--why", "to see", "--id", "once", "--wait", "60") for _ in range(2)]
    assert [done.returncode for done in twice] == [0, 0]
    assert "was answered before" in twice[1].stdout
    for verb, scope, wrong in (
        ("abort", "lab/shop-crat/1", "there is no rollout lab/shop-crat/1; under way are: "),
        ("pause", "lab:shop/nope", "the catalog has no service shop/nope in lab; it has shop/cart"),
    ):
        mistyped = run("control", verb, scope, "--why", "to see", "--wait", "60")
        assert (mistyped.returncode, wrong in mistyped.stderr) == (1, True), mistyped.stderr
    unknown = run("control", "pause", "nowhere", "--why", "to see", "--wait", "60")
    assert (unknown.returncode, "there is no environment 'nowhere'; the catalog has lab" in unknown.stderr) == (1, True)
    mistyped = run("rollouts", "lap")
    assert (mistyped.returncode, "there is no environment 'lap'; the catalog has lab" in mistyped.stderr) == (1, True)


def test_what_is_wrong_is_said_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    """A tag instead of a digest, a catalog with a mistake, a rollout that is not there: each with what to do."""
    tag = run("artifact", "push", f"{IMAGE}:latest")
    assert (tag.returncode, "names no digest" in tag.stderr) == (2, True)
    bad = tmp_path / "catalog.yaml"
    bad.write_text(CATALOG.replace("NOTIFY", "http://hooks.example").replace("policy: quick", "policy: quik"))
    checked = run("catalog", "check", str(bad))
    assert (checked.returncode, "line 2" in checked.stderr) == (1, True)
    nobody = run("control", "abort", "lab", "--why", "to see", "--wait", "0.5")
    assert (nobody.returncode, "no engine answered within 0.5 s" in nobody.stdout) == (3, True), "this topic prefix has no worker"
    nobody = run("control", "abort", "lab", "--why", "to see", "--wait", "0.5", "--json")
    assert (json.loads(nobody.stdout)["status"], json.loads(nobody.stdout)["error"]) == (3, None)
    for words in (("rollout", "lab/shop-cart/9"), ("rollouts", "lab"), ("plan", f"{IMAGE}@sha256:{'ab' * 32}", "--environment", "lab")):
        missing = run(*words)
        said = "there is no environment 'lab': no catalog is applied yet"
        assert (missing.returncode, said in missing.stderr) == (1, True), missing.stderr
    nothing = run("catalog", "show", "--json")
    assert (nothing.returncode, json.loads(nothing.stdout)["status"]) == (1, 1)


def test_without_a_broker_a_command_says_how_to_name_one() -> None:
    """One line, and exit status 1."""
    environ = {k: v for k, v in os.environ.items() if k != "KAFKA_BOOTSTRAP_SERVERS"}
    command = [sys.executable, "-m", "ctrlplane_stream", "rollouts", "lab"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, "KAFKA_BOOTSTRAP_SERVERS" in done.stderr) == (1, True)
    assert len(done.stderr.strip().splitlines()) == 1


def test_json_is_json(run: Run) -> None:
    """Every listing can be read by a program, and every failure."""
    assert msgspec.json.decode(run("dead-letters", "list", "--json").stdout) == {"letters": [], "counts": []}
    failed = run("rollouts", "lab", "--json")
    assert failed.returncode == 1
    assert msgspec.json.decode(failed.stdout) == {"error": failed.stderr.removeprefix("Error: ").strip(), "status": 1}
