"""`judge` over recorded OTLP and `gates plan`, as a person calls them."""

import json
import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ctrlplane_stream.commands.gate_options import gate_of
from ctrlplane_stream.commands.gates import gates
from ctrlplane_stream.commands.judge import judge
from ctrlplane_stream.telemetry.half import Kind
from ctrlplane_stream.telemetry.sample_traces import BEGINNING_MS, SampleSpan, SampleTraces, request

SECONDS, RATE = 60, 20
DATABASE = {"db.system.name": "postgresql", "db.namespace": "carts", "server.address": "db"}


def record(
    path: Path,
    *,
    seed: int,
    start_ms: int = BEGINNING_MS,
    cart_errors: float = 0.0,
    cart_ms: float = 10.0,
    db_ms: float = 3.0,
    db_calls: int = 1,
    cart_dead: float = 0.0,
    ill_from: int = 0,
    seconds: int = SECONDS,
    cart_address: str = "cart",
    new_share: float | None = None,
    pay_errors: float | None = None,
) -> Path:
    """A minute of shop → cart → db at 20 requests a second, length-prefixed protobuf; ``new_share`` of cart is version 2, and only it is
    ill, after ``ill_from`` seconds; with ``pay_errors`` it calls somebody outside too, of which calls this share fails."""
    rng, traces = random.Random(seed), SampleTraces(seed)
    with path.open("wb") as file:
        for tick in range(seconds):
            spans: list[SampleSpan] = []
            for _ in range(RATE):
                new = new_share is None or rng.random() < new_share
                at = start_ms + tick * 1000 + rng.random() * 900
                slow = (cart_ms if new else 10.0) * rng.lognormvariate(0, 0.3)
                failed = new and tick >= ill_from and rng.random() < cart_errors
                dead = new and tick >= ill_from and rng.random() < cart_dead
                root = traces.span("shop", Kind.SERVER, end_ms=at, milliseconds=slow + 12, error=failed or dead)
                call = traces.span(
                    "shop",
                    Kind.CLIENT,
                    parent=root,
                    end_ms=at - 1,
                    milliseconds=slow + 2,
                    error=failed or dead,
                    attributes={"server.address": cart_address},
                )
                spans += [root, call]
                if dead:
                    continue
                version = "2" if new and new_share is not None else "1"
                cart = traces.span("cart", Kind.SERVER, parent=call, version=version, end_ms=at - 2, milliseconds=slow, error=failed)
                spans.append(cart)
                calling = partial(traces.span, "cart", Kind.CLIENT, parent=cart, version=version, end_ms=at - 3)
                if new and pay_errors is not None:
                    failing = rng.random() < pay_errors
                    spans.append(calling(milliseconds=2.0, error=failing, attributes={"server.address": "pay.example"}))
                for _ in range(db_calls if new else 1):
                    slow_db = db_ms * rng.lognormvariate(0, 0.2)
                    spans.append(calling(milliseconds=slow_db, attributes=DATABASE))
            value = request(spans)
            file.write(len(value).to_bytes(4, "big") + value)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(judge, [str(argument) for argument in arguments])


def report(*arguments: object) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run(*arguments, "--window", 5, "--json").stdout)
    return document


@pytest.fixture(scope="module")
def stable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "stable.bin", seed=1)


def test_the_same_version_recorded_twice_does_not_fail(stable: Path, tmp_path: Path) -> None:
    """A second run an hour later; PASS, and the report says that it compares before and after."""
    again = record(tmp_path / "again.bin", seed=2, start_ms=BEGINNING_MS + 3_600_000)
    found = report("--stable", stable, "--candidate", again)
    assert found["verdict"] == "PASS"
    assert "before/after" in found["comparison"]
    assert len(found["windows"]) in {12, 13}


@pytest.mark.parametrize(
    ("ill", "service"),
    [({"cart_errors": 0.3}, "cart"), ({"cart_ms": 60.0}, "cart"), ({"db_calls": 0}, "cart"), ({"db_calls": 4}, "cart")],
)
def test_a_harm_is_found_and_followed_down_to_where_it_lies(stable: Path, tmp_path: Path, ill: dict[str, Any], service: str) -> None:
    """The shop fails or slows down too, since it calls cart; the culprit is cart."""
    found = report("--stable", stable, "--candidate", record(tmp_path / "ill.bin", seed=3, **ill))
    assert found["verdict"] == "FAIL"
    assert found["culprit"]["service"] == service
    assert found["windows"][found["at_window"] - 1]["verdict"] == "FAIL"
    assert all(window["verdict"] != "FAIL" for window in found["windows"][: found["at_window"] - 1])


@pytest.mark.parametrize("split", [False, True])
def test_spans_of_a_recording_are_not_said_to_have_come_late(stable: Path, tmp_path: Path, split: bool) -> None:
    """Everything is there at once: all was observed, nothing came late or too late."""
    if split:
        found = report(record(tmp_path / "mixed.bin", seed=5, new_share=0.3), "--split", "version=2")
    else:
        found = report("--stable", stable, "--candidate", record(tmp_path / "again.bin", seed=2))
    for window in found["windows"]:
        coverage = window["coverage"]
        assert (coverage["observed"], coverage["late"], coverage["dropped"]) == (1.0, 0.0, 0.0)


def test_a_metric_says_what_was_compared(stable: Path, tmp_path: Path) -> None:
    found = report("--stable", stable, "--candidate", record(tmp_path / "ill.bin", seed=3, cart_errors=0.3))
    metric = next(m for m in found["windows"][-1]["metrics"] if m["name"] == "error_ratio" and m["service"] == "cart")
    assert metric["edge"] == {"caller": "shop", "callee": "cart", "kind": "call"}
    assert metric["stable"] == 0.0
    assert 0.25 < metric["candidate"] < 0.35
    assert metric["interval"][0] < metric["effect"] < metric["interval"][1]
    assert 0 < metric["p_needed"] < 0.01, "what FAIL needs of p is the metric's share of alpha, which the interval is of, too"
    assert metric["e_value"] > 1e3


def test_a_service_that_answers_nothing_is_found_without_its_spans(stable: Path, tmp_path: Path) -> None:
    found = report("--stable", stable, "--candidate", record(tmp_path / "dead.bin", seed=4, cart_dead=1.0))
    assert found["verdict"] == "FAIL"
    assert found["culprit"]["service"] == "cart"


def test_a_candidate_that_is_dead_from_its_first_call_loses_all_of_them_and_not_half(stable: Path, tmp_path: Path) -> None:
    """What no server answered has no version, and was counted among the calls of both recordings."""
    said = run("--stable", stable, "--candidate", record(tmp_path / "dead.bin", seed=4, cart_dead=1.0), "--window", 5).output
    assert "the share of failed calls that no server answered is 100.00% (100 of 100) against 0.00%" in said
    assert "(1 point more allowed)" in said


def test_what_no_server_answered_of_the_stable_recording_is_not_held_against_the_candidate(tmp_path: Path) -> None:
    old = record(tmp_path / "old.bin", seed=4, cart_dead=0.3)
    found = report("--stable", old, "--candidate", record(tmp_path / "new.bin", seed=5))
    lost = next(m for m in found["windows"][-1]["metrics"] if m["name"] == "lost_calls" and m["service"] == "cart")
    assert (lost["candidate"], found["verdict"] != "FAIL", lost["stable"] > 0.25) == (0.0, True, True)


def test_a_service_that_answers_nothing_is_known_by_the_address_from_which_stable_answered(tmp_path: Path) -> None:
    """No host is called as a service is: who answered there is learned from the stable recording, else the caller is blamed."""
    old, dead = (record(tmp_path / f"{n}.bin", seed=8 + n, cart_dead=n, cart_address="cart.prod.svc") for n in (0, 1))
    found = report("--stable", old, "--candidate", dead)
    assert (found["verdict"], found["culprit"]["service"]) == ("FAIL", "cart")


def calls_of_two(path: Path, at: dict[str, str], *, start_ms: int = BEGINNING_MS, version: str = "1", dead: float = 0.0) -> Path:
    """A minute of web → cart and pricing by address at 20 requests a second; pricing is of ``version``, and a share ``dead`` of its calls
    is lost."""
    rng, traces, spans = random.Random(1), SampleTraces(start_ms % 1_000 + 7), list[SampleSpan]()
    for number in range(SECONDS * RATE):
        end = start_ms + number * 1000 / RATE
        root = traces.span("web", Kind.SERVER, end_ms=end, milliseconds=50)
        spans.append(root)
        for service in ("cart", "pricing"):
            lost = service == "pricing" and rng.random() < dead
            where = {"server.address": at[service], "server.port": 8080}
            call = traces.span("web", Kind.CLIENT, root, end_ms=end - 5, milliseconds=30, error=lost, attributes=where)
            answer = traces.span(
                service, Kind.SERVER, call, version=version if service == "pricing" else "1", end_ms=end - 9, milliseconds=20
            )
            spans += [call] if lost else [call, answer]
    path.write_bytes(request(spans))
    return path


@pytest.mark.parametrize("swapped", [False, True])
def test_lost_calls_are_found_though_addresses_were_dealt_anew_between_the_recordings(tmp_path: Path, swapped: bool) -> None:
    """Each Pod has the address now that the other's had before: what the candidate's own recording found there goes first."""
    one, other = {"cart": "10.0.0.7", "pricing": "10.0.0.8"}, {"cart": "10.0.0.8", "pricing": "10.0.0.7"}
    old = calls_of_two(tmp_path / "old", one)
    new = calls_of_two(tmp_path / "new", other if swapped else one, start_ms=BEGINNING_MS + 3_600_000, version="2", dead=0.3)
    found = report("--stable", old, "--candidate", new)
    assert (found["verdict"], found["culprit"]["service"]) == ("FAIL", "pricing")


@pytest.mark.parametrize(
    "attributes", [{"server.address": "stock", "server.port": 8080}, {"db.system.name": "redis", "server.address": "redis"}]
)
def test_a_healthy_candidate_passes_beside_a_service_that_answers_nobody_at_the_host_of_its_name(
    tmp_path: Path, attributes: dict[str, str | int]
) -> None:
    """It propagates no context, or is a database of that name: what the callers make of it is the same in both recordings."""
    sides = []
    for side, version in enumerate(("1", "2")):
        rng, traces, spans = random.Random(side), SampleTraces(side + 1), list[SampleSpan]()
        for number in range(SECONDS * RATE):
            end = BEGINNING_MS + side * 3_600_000 + number * 1000 / RATE
            took = 20 * rng.lognormvariate(0, 0.2)
            root = traces.span("shop/web", Kind.SERVER, end_ms=end, milliseconds=took + 20)
            priced = traces.span(
                "shop/web", Kind.CLIENT, root, end_ms=end - 2, milliseconds=took + 5, attributes={"server.address": "pricing"}
            )
            asked = traces.span("shop/web", Kind.CLIENT, root, end_ms=end - 1, milliseconds=3, attributes=attributes)
            price = traces.span("shop/pricing", Kind.SERVER, priced, version=version, end_ms=end - 3, milliseconds=took)
            own = traces.span(f"shop/{attributes['server.address']}", Kind.SERVER, end_ms=end - 2, milliseconds=2)
            spans += [root, priced, asked, price, own]
        (tmp_path / version).write_bytes(request(spans))
        sides.append(tmp_path / version)
    assert report("--stable", sides[0], "--candidate", sides[1])["verdict"] == "PASS"


@pytest.mark.parametrize(("ill", "verdict"), [({}, "PASS"), ({"cart_errors": 0.4}, "FAIL"), ({"cart_ms": 80.0}, "FAIL")])
def test_one_recording_is_split_by_version(tmp_path: Path, ill: dict[str, Any], verdict: str) -> None:
    mixed = record(tmp_path / "mixed.bin", seed=5, new_share=0.3, **ill)
    found = report(mixed, "--split", "version=2")
    assert found["verdict"] == verdict
    assert "same windows" in found["comparison"]
    assert found["windows"][found["at_window"] - 1]["verdict"] == verdict
    assert (found["culprit"] or {}).get("service") == ("cart" if verdict == "FAIL" else None)


def test_a_split_holds_what_the_candidate_calls_against_what_it_was_before(tmp_path: Path) -> None:
    """It is as slow for the calls of both versions, so that side by side they are alike: an overloaded callee passed."""
    windows = []
    for at, slow in ((0, False), (120_000, True)):
        rng, traces, spans = random.Random(at), SampleTraces(at), []
        for n in range(2400):
            version = "2" if slow and rng.random() < 0.4 else "1"
            end = BEGINNING_MS + at + n * 50
            took = (30.0 if slow else 10.0) * rng.lognormvariate(0, 0.2)
            cart = traces.span("cart", Kind.SERVER, version=version, end_ms=end, milliseconds=took + 4)
            call = traces.span("cart", Kind.CLIENT, parent=cart, version=version, end_ms=end - 1, milliseconds=took + 1)
            spans += [cart, call, traces.span("pay", Kind.SERVER, parent=call, version="7", end_ms=end - 1.5, milliseconds=took)]
        windows.append(request(spans))
    (tmp_path / "overload.bin").write_bytes(b"".join(len(value).to_bytes(4, "big") + value for value in windows))
    found = report(tmp_path / "overload.bin", "--split", "version=2")
    assert (found["verdict"], (found["culprit"] or {"edge": {}})["edge"].get("callee")) == ("FAIL", "pay")


def test_each_side_may_be_many_files(tmp_path: Path) -> None:
    """As a shell's `*.bin` gives them, or with the option before each: the same report as of the whole recording."""
    sides = [[record(tmp_path / f"{side}-{n}.bin", seed=10 * s + n) for n in (1, 2)] for s, side in enumerate(("old", "new"))]
    whole = [tmp_path / "old.bin", tmp_path / "new.bin"]
    for path, parts in zip(whole, sides, strict=True):
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
    once = report("--stable", whole[0], "--candidate", whole[1])
    (a, b), (c, d) = sides
    assert report("--stable", a, b, "--candidate", c, d) == once
    assert report("--stable", a, "--candidate", c, "--stable", b, "--candidate", d) == once
    assert len(once["windows"]) in {12, 13}


def test_calls_that_no_server_answered_are_part_of_the_evidence(tmp_path: Path) -> None:
    """Calls without a server half are of unknown version, and every window says how many they were."""
    found = report("--stable", record(tmp_path / "a.bin", seed=6), "--candidate", record(tmp_path / "b.bin", seed=7, cart_dead=0.2))
    assert found["windows"][-1]["coverage"]["unknown"] > 0
    assert found["windows"][-1]["coverage"]["observed"] == 1.0


def test_what_could_not_be_read_of_a_recording_is_part_of_the_report(stable: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.bin"
    broken.write_bytes(stable.read_bytes() + b"\0\0\0\5garba")
    assert report("--stable", stable, "--candidate", broken)["unreadable"] == 1
    assert "1 record could not be read, as told above" in run("--stable", stable, "--candidate", broken).output
    assert report("--stable", stable, "--candidate", stable)["unreadable"] == 0


def test_a_policy_file_decides_what_is_asked(stable: Path, tmp_path: Path) -> None:
    """A margin of 60 points makes 30% errors harmless."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("error_margin: 0.6\nmetrics: [error_ratio]\nproof: [error_ratio]\n")
    ill = record(tmp_path / "ill.bin", seed=3, cart_errors=0.3)
    assert report("--stable", stable, "--candidate", ill, "--policy", policy)["verdict"] == "PASS"
    policy.write_text("eror_margin: 0.6\n")
    refused = run("--stable", stable, "--candidate", ill, "--policy", policy)
    assert refused.exit_code == 1
    assert "eror_margin" in refused.output
    policy.write_text("alpha: 0\n")
    for refused in (
        run("--stable", stable, "--candidate", ill, "--policy", policy),
        CliRunner().invoke(gates, ["plan", "--rps", "9", "--weight", "5%", "--detect", "5%", "--policy", str(policy)]),
    ):
        assert (refused.exit_code, "alpha is a chance: above 0" in refused.output) == (1, True)


def test_a_policy_may_be_json_whose_numbers_are_words_in_yaml(tmp_path: Path) -> None:
    """As Python writes small ones."""
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"alpha": 1e-05}))
    assert gate_of(policy).alpha == 1e-05


def test_a_service_without_errors_can_be_planned_and_a_weight_of_0_cannot() -> None:
    asked = ["plan", "--rps", "100", "--detect", "2%", "--errors", "0", "--json", "--weight"]
    none = json.loads(CliRunner().invoke(gates, [*asked, "5%"]).stdout)
    assert 60 < none["error_proof_seconds"] < 100
    assert CliRunner().invoke(gates, [*asked, "0"]).exit_code == 2


def test_the_weight_of_a_split_is_that_of_the_time_in_which_the_candidate_ran(tmp_path: Path) -> None:
    """A minute without it came before: 40% of the calls are its, and what it may lose is a part of that."""
    old = record(tmp_path / "old.bin", seed=4)
    new = record(tmp_path / "new.bin", seed=5, start_ms=BEGINNING_MS + SECONDS * 1000, new_share=0.4, cart_dead=0.3)
    assert "before the rollout (0.275 points more allowed)" in report(old, new, "--split", "version=2")["reason"]


def test_a_label_that_is_nowhere_is_no_data_and_those_that_are_there_are_named(stable: Path) -> None:
    found = report(stable, "--split", "version=9")
    assert found["verdict"] == "NO_DATA"
    assert "No span is of version 9. Versions found: " in found["reason"]
    assert "1 (of cart" in found["reason"]
    assert run(stable, "--split", "version=9").exit_code == 5


def test_a_version_with_nothing_beside_it_is_no_data(stable: Path, tmp_path: Path) -> None:
    """It soaked and passed, compared with nothing: so does who mistypes the version, or records the wrong services."""
    found = report(stable, "--split", "version=1")
    assert (found["verdict"], found["windows"]) == ("NO_DATA", [])
    assert "of version 1: there is no other to compare it with" in found["reason"]
    traces = SampleTraces()
    (tmp_path / "other.bin").write_bytes(request([traces.span("billing", Kind.SERVER, milliseconds=5)]))
    found = report("--stable", stable, "--candidate", tmp_path / "other.bin")
    assert found["verdict"] == "NO_DATA"
    assert "stable has cart, shop; candidate has billing." in found["reason"]


def test_a_candidate_that_dies_after_it_was_proven_is_no_pass_of_a_recording(tmp_path: Path) -> None:
    """Where both versions run from the first second on, there is no past that would know whether the lost calls are new."""
    said = report("--split", "version=2", record(tmp_path / "r", seed=3, seconds=240, new_share=0.5, cart_dead=1.0, ill_from=150))
    assert "PASS" in {window["verdict"] for window in said["windows"]}
    assert said["verdict"] != "PASS"
    assert said["at_window"] == len(said["windows"])


def entered(path: Path, seed: int, *, seconds: int = 120, until: int = 120, caller: bool = False) -> Path:
    """Requests to shop, where all enter, of which it answers none after a while: of what comes then there are spans of a caller only."""
    rng, traces = random.Random(seed), SampleTraces(seed)
    with path.open("wb") as file:
        for tick in range(seconds if caller else min(seconds, until)):
            spans: list[SampleSpan] = []
            for _ in range(RATE):
                at, call, dead = BEGINNING_MS + tick * 1000 + rng.random() * 900, None, tick >= until
                if caller:
                    root = traces.span("proxy", Kind.SERVER, end_ms=at, milliseconds=30, error=dead)
                    to = {"server.address": "shop"}
                    call = traces.span("proxy", Kind.CLIENT, parent=root, end_ms=at - 1, milliseconds=20, error=dead, attributes=to)
                    spans += [root, call]
                if not dead:
                    spans.append(traces.span("shop", Kind.SERVER, parent=call, end_ms=at - 2, milliseconds=12 * rng.lognormvariate(0, 0.3)))
            value = request(spans)
            file.write(len(value).to_bytes(4, "big") + value)
    return path


@pytest.mark.parametrize("until", [60, 100])
def test_an_entry_point_of_which_a_recording_ends_early_is_no_pass(tmp_path: Path, until: int) -> None:
    """Nobody is there whose calls to it fail: its recording ends where it died, or where the recorder was stopped."""
    sides = "--stable", entered(tmp_path / "s", 1), "--candidate", entered(tmp_path / "c", 2, until=until)
    said = report(*sides)
    assert said["verdict"] == "INCONCLUSIVE"
    assert not said["proven"]
    assert "requests came to shop, and none to the candidate" in said["reason"]
    assert said["windows"][said["at_window"] - 1]["verdict"] == "INCONCLUSIVE"
    assert run(*sides, "--window", 5).exit_code == 4


def test_an_entry_point_whose_callers_tell_that_it_died_fails(tmp_path: Path) -> None:
    sides = "--stable", entered(tmp_path / "s", 1, caller=True), "--candidate", entered(tmp_path / "c", 2, until=60, caller=True)
    assert report(*sides)["verdict"] == "FAIL"


def test_recordings_are_never_just_as_long(tmp_path: Path) -> None:
    said = report("--stable", entered(tmp_path / "s", 1), "--candidate", entered(tmp_path / "c", 2, until=112))
    assert said["verdict"] == "PASS"


def test_a_candidate_whose_new_calls_all_fail_is_no_pass_of_a_recording(stable: Path, tmp_path: Path) -> None:
    """Of two recordings, and of one that is split."""
    for split in (False, True):
        path = record(tmp_path / f"new-{split}", seed=3, seconds=120, pay_errors=1.0, new_share=0.5 if split else None)
        said = (
            report(path, "--split", "version=2")
            if split
            else report("--stable", record(tmp_path / "s", seed=1, seconds=120), "--candidate", path)
        )
        assert said["verdict"] == "INCONCLUSIVE"
        assert "calls pay.example (external)" in said["reason"]


def test_that_traffic_ends_is_no_silence_of_the_candidate(tmp_path: Path) -> None:
    """A PASS stands where nobody called any more."""
    path = record(tmp_path / "r", seed=3, seconds=200, new_share=0.5)
    traces = SampleTraces(99)
    spans = [traces.span("shop", Kind.SERVER, end_ms=BEGINNING_MS + at * 1000, milliseconds=5) for at in range(200, 280) for _ in range(8)]
    value = request(spans)
    path.write_bytes(path.read_bytes() + len(value).to_bytes(4, "big") + value)
    assert report("--split", "version=2", path)["verdict"] == "PASS"


def test_harm_that_begins_after_the_end_of_a_shorter_stable_recording_is_found(tmp_path: Path) -> None:
    """Its windows have none of stable beside them, and are held against all of it."""
    stable = record(tmp_path / "stable", seed=1, seconds=100)
    ill = record(tmp_path / "ill", seed=2, seconds=250, cart_errors=0.5, ill_from=120)
    well = record(tmp_path / "well", seed=2, seconds=250)
    said = report("--stable", stable, "--candidate", ill)
    assert (said["verdict"], said["culprit"]["service"]) == ("FAIL", "cart")
    assert said["at_window"] > 11
    assert report("--stable", stable, "--candidate", well)["verdict"] == "PASS"
    said_of_both = run("--stable", stable, "--candidate", well).output
    assert "windows of the candidate's recording have none of stable's beside it" in said_of_both
    assert "The candidate's recording ends 15 windows before stable's" in run("--stable", well, "--candidate", stable).output


@pytest.mark.parametrize(
    "ended_ms", [1, BEGINNING_MS - 300_000, BEGINNING_MS + 86_400_000_000], ids=["1970", "minutes before", "years after"]
)
def test_a_span_of_a_wrong_clock_does_not_say_where_a_recording_begins(stable: Path, tmp_path: Path, ended_ms: int) -> None:
    """It is told, and left out."""
    ill = record(tmp_path / "ill", seed=2, cart_errors=0.5)
    without = report("--stable", stable, "--candidate", ill)
    value = request([SampleTraces(77).span("shop", Kind.SERVER, end_ms=ended_ms, milliseconds=0.5)])
    ill.write_bytes(ill.read_bytes() + len(value).to_bytes(4, "big") + value)
    said = report("--stable", stable, "--candidate", ill)
    assert (said["verdict"], said["at_window"], said["culprit"]) == ("FAIL", without["at_window"], without["culprit"])
    assert (without["strayed"], said["strayed"]) == (0, 1)
    assert "1 call or request left out" in run("--stable", stable, "--candidate", ill).output


def test_a_split_takes_no_sides(stable: Path) -> None:
    """They were pooled, and a day between them made it look as if there were too little to compare with."""
    refused = run("--stable", stable, "--candidate", stable, "--split", "version=2")
    assert (refused.exit_code, "leave out --stable and --candidate" in refused.output) == (2, True)


def test_words_end_with_the_window_of_the_verdict(stable: Path, tmp_path: Path) -> None:
    """What came later is left out and said to be, until --all-windows; what e is stands there once."""
    ill = record(tmp_path / "ill.bin", seed=3, cart_errors=0.3)
    sides = ("--stable", stable, "--candidate", ill, "--window", 5)
    short, whole = run(*sides).output.splitlines(), run(*sides, "--all-windows").output.splitlines()
    assert [line for line in short if line.startswith("   ")][-1].split()[1] == "FAIL"
    assert short[-1].endswith("left out (--all-windows)")
    assert whole[: len(short) - 1] == short[:-1]
    assert len(whole) > len(short)
    assert sum("one case of N" in line for line in whole) == 1


def test_a_recording_too_short_to_prove_anything_is_neither_pass_nor_fail(stable: Path, tmp_path: Path) -> None:
    """With a policy that goes on only with proof: 4, which a script tells from the 3 of harm."""
    policy = tmp_path / "policy.yaml"
    policy.write_text("on_unprovable: hold\nerror_margin: 0.0001\n")
    again = record(tmp_path / "again.bin", seed=2)
    told = run("--stable", stable, "--candidate", again, "--window", 5, "--policy", policy)
    assert (told.exit_code, told.output.split()[0]) == (4, "INCONCLUSIVE")


def test_a_recording_shorter_than_a_soak_has_not_soaked(stable: Path, tmp_path: Path) -> None:
    """Two windows of which nothing is proven passed, with exit status 0. The policy decides here as it does of a step: a soak of two
    passes, and says that nothing is proven."""
    policy = tmp_path / "policy.yaml"
    again = record(tmp_path / "again.bin", seed=2)
    sides = ("--stable", stable, "--candidate", again, "--window", 30, "--policy", policy)
    policy.write_text("error_margin: 0.0001\n")
    told = run(*sides)
    assert (told.exit_code, "of 12 windows without harm found" in told.output) == (4, True)
    policy.write_text("error_margin: 0.0001\nsoak_windows: 2\nminimum_windows: 1\n")
    told = run(*sides)
    assert (told.exit_code, told.output.splitlines()[0].endswith(", unproven")) == (0, True)


def test_the_exit_status_tells_pass_from_fail(stable: Path, tmp_path: Path) -> None:
    again = record(tmp_path / "again.bin", seed=2)
    passed = run("--stable", stable, "--candidate", again, "--window", 5)
    assert passed.exit_code == 0
    assert passed.output.startswith("PASS after window")
    assert run("--stable", stable).exit_code == 2
    assert run("--stable", stable, "--candidate", record(tmp_path / "ill.bin", seed=3, cart_errors=0.3)).exit_code == 3


def test_a_plan_says_how_long_and_what_else_could_be_done() -> None:
    runner = CliRunner()
    rich = runner.invoke(gates, ["plan", "--rps", "100", "--weight", "5%", "--detect", "5%"])
    assert rich.exit_code == 0
    assert "A step without harm is proven after about" in rich.output
    poor = runner.invoke(gates, ["plan", "--rps", "1", "--weight", "0.05", "--detect", "0.05", "--json"])
    document = json.loads(poor.stdout)
    assert not document["provable"]
    assert 0.05 < document["provable_margin"] < 0.2


def test_a_plan_that_does_not_fit_names_the_proof_that_takes_so_long(tmp_path: Path) -> None:
    """Advice about errors helps nobody whose latency is what cannot be proven."""
    policy = tmp_path / "gate.yaml"
    policy.write_text("error_margin: 0.05\n")
    asked = ["plan", "--rps", "20", "--weight", "5%", "--detect", "10%"]
    wider = CliRunner().invoke(gates, [*asked, "--policy", str(policy)]).output
    assert "This traffic needs a latency_margin above 25%; or" in wider
    both = CliRunner().invoke(gates, asked).output
    assert "the 99th percentile takes longest. This traffic needs an error_margin of 1.35%" in both
    assert "and a latency_margin above 25%" in both
    policy.write_text("proof: []\nminimum_samples: 5000\n")
    assert "so many as 5000 requests takes longest" in CliRunner().invoke(gates, [*asked, "--policy", str(policy)]).output


def test_a_fault_that_is_found_later_than_a_step_is_proven_is_what_takes_longest_and_not_the_proof() -> None:
    """docs/policies.md promises a healthy step its proof within a few minutes at 100 requests a second and 5%, however small the fault."""
    asked = ["plan", "--rps", "100", "--weight", "5%", "--detect", "2%"]
    document = json.loads(CliRunner().invoke(gates, [*asked, "--json"]).stdout)
    assert (document["provable"], document["step_seconds"] < 300 < document["detect_seconds"]) == (True, True)
    said = CliRunner().invoke(gates, asked).output
    assert "It takes longest to find that rise" in said
    assert "99th percentile takes longest" not in said


def test_a_plan_of_all_traffic_is_of_what_the_past_can_tell() -> None:
    """At 100% no stable is beside it. Played with the judge, a rise by 5 points is found after 30 s, and none within the 4 s that the plan
    of a comparison side by side would give; one by 2 points is within the wider margin and never found."""
    asked = ["plan", "--rps", "100", "--weight", "100%", "--detect"]
    document = json.loads(CliRunner().invoke(gates, [*asked, "5%", "--json"]).stdout)
    assert (document["detect_seconds"], document["margin"]) == (30.0, 0.02)
    said = CliRunner().invoke(gates, [*asked, "2%"]).output
    assert "error_margin must be set to 0.50%: it is 1.00%" in said
    assert "held against the past, with margins 2 times as wide" in said


def test_nothing_is_found_before_a_window_ends() -> None:
    asked = ["plan", "--rps", "1e9", "--weight", "5%", "--detect", "50%", "--window", "20", "--json"]
    assert json.loads(CliRunner().invoke(gates, asked).stdout)["detect_seconds"] == 20.0


def test_a_plan_says_that_a_step_which_soaks_leaves_before_a_rise_is_found() -> None:
    said = CliRunner().invoke(gates, ["plan", "--rps", "1", "--weight", "5%", "--detect", "5%"]).output
    assert "It leaves after 12 windows (2 min) in which nothing speaks for harm" in said


def test_a_plan_of_more_failures_than_requests_is_refused() -> None:
    refused = CliRunner().invoke(gates, ["plan", "--rps", "9", "--weight", "5%", "--errors", "99.9%", "--detect", "5%"])
    assert (refused.exit_code, "more than all requests" in refused.output) == (2, True)


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_a_plan_needs_finite_numbers(number: str) -> None:
    for asked in (["--rps", number], ["--rps", "9", "--p99-over-p50", number]):
        refused = CliRunner().invoke(gates, ["plan", "--weight", "5%", "--detect", "5%", *asked])
        assert (refused.exit_code, "is no finite number" in refused.output) == (2, True)


def test_a_plan_of_a_policy_of_limits_alone_says_that_no_rise_is_looked_for(tmp_path: Path) -> None:
    """What decides is then a limit, or an outside judge."""
    policy = tmp_path / "p.yaml"
    policy.write_text("metrics: []\nproof: []\nlimits:\n  - {metric: error_ratio, maximum: 0.05}\n")
    call = ["plan", "--rps", "100", "--weight", "5%", "--detect", "5%", "--policy", str(policy)]
    told = CliRunner().invoke(gates, [*call, "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.output)["detect_seconds"] is None
    assert "a rise of errors by 5.00% is not looked for" in CliRunner().invoke(gates, call).output


def test_limits_alone_follow_a_harm_down_too(stable: Path, tmp_path: Path) -> None:
    """No question is asked that would know the calls; the past does."""
    policy = tmp_path / "p.yaml"
    policy.write_text("metrics: []\nproof: []\nlimits:\n  - {metric: error_ratio, maximum: 0.05}\n")
    said = report("--stable", stable, "--candidate", record(tmp_path / "ill", seed=2, cart_errors=0.3), "--policy", policy)
    assert (said["verdict"], said["culprit"]["service"]) == ("FAIL", "cart")
