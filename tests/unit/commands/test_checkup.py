"""What ``doctor`` makes of what it sees."""

import asyncio
from collections import Counter

import pytest
from aiokafka.errors import GroupLoadInProgressError, RequestTimedOutError, TopicAuthorizationFailedError

from ctrlplane_stream.cli import main
from ctrlplane_stream.commands.checkup import (
    check_compiled,
    check_settings,
    clock_finding,
    late_findings,
    not_measured,
    one_version_only,
    versionless,
    versions_seen,
)
from ctrlplane_stream.commands.checkup_environments import marks_of, shorter_inputs
from ctrlplane_stream.commands.checkup_redis import check_redis
from ctrlplane_stream.commands.checkup_roles import Group, read_group, role_finding
from ctrlplane_stream.commands.checkup_variables import check_variables
from ctrlplane_stream.commands.findings import Finding, Health
from ctrlplane_stream.commands.unread import findings_or_why_not
from ctrlplane_stream.decision.entities import OriginMark
from ctrlplane_stream.decision.state import State
from ctrlplane_stream.model.windows import ServiceWindow, WindowPart
from ctrlplane_stream.settings import Protocol, Settings
from ctrlplane_stream.stream.line import Line


def test_inputs_that_end_before_what_was_decided_of_them_are_told_with_what_becomes_of_what_comes() -> None:
    """What comes is known by its date; where an earlier build left none, it is taken for what was decided."""
    state = State.empty("lab").with_changes({"origin/control/1": OriginMark(7, 0, 5), "origin/artifacts/0": OriginMark(3, 1)})
    more = State.empty("shop").with_changes({"origin/control/1": OriginMark(2, 0), "origin/control/-1": OriginMark(9, 0)})
    marks = marks_of([Line(state), Line(more)])
    assert marks == {("control", 1): OriginMark(7, 0, 5), ("artifacts", 0): OriginMark(3, 1)}
    assert shorter_inputs(marks, {("control", 1): 8, ("artifacts", 0): 4}) == []
    undated, dated = shorter_inputs(marks, {("control", 1): 7, ("artifacts", 0): 0})
    assert (dated.health, undated.health) == (Health.NOTE, Health.WRONG)
    assert dated.what.startswith("control/1 ends at offset 7, and offset 7 of it was decided")
    assert "up to offset 3" in undated.remedy


def test_the_settings_line_shows_what_differs_and_no_secret() -> None:
    """One line for a colleague to read, with stars where the password is."""
    settings = Settings(kafka_security_protocol=Protocol.SASL_SSL, kafka_sasl_username="u", kafka_sasl_password="open-sesame")
    (finding,) = check_settings(settings)
    assert finding.health is Health.OK
    assert "KAFKA_SASL_USERNAME=u, KAFKA_SASL_PASSWORD=***" in finding.what


@pytest.mark.parametrize(
    ("settings", "health"),
    [
        (Settings(kafka_sasl_username="u"), Health.WRONG),
        (Settings(kafka_security_protocol=Protocol.SASL_SSL), Health.WRONG),
        (Settings(kafka_security_protocol=Protocol.SASL_PLAINTEXT, kafka_sasl_username="u"), Health.NOTE),
    ],
)
def test_settings_that_contradict_each_other_come_with_a_remedy(settings: Settings, health: Health) -> None:
    """A user without SASL, SASL without a user, a password in the clear."""
    found = check_settings(settings)[1:]
    assert [f.health for f in found] == [health]
    assert found[0].remedy


def test_a_variable_that_nobody_reads_is_named_with_the_nearest_that_somebody_does() -> None:
    """Settings, options by command and name, and what a version is told are none of them."""
    read = ("CTRLPLANE_WINDOW_SECONDS", "CTRLPLANE_ARTIFACT_PUSH_SERVICE", "CTRLPLANE_HOST_PORT", "CTRLPLANE_VERSION", "PATH")
    assert check_variables(dict.fromkeys(read, "1"), main) == []
    window, port = check_variables({"CTRLPLANE_WINDOW_SECOND": "30", "CTRLPLANE_HOST_PROT": "1"} | dict.fromkeys(read, "1"), main)[::-1]
    assert (window.health, port.health) == (Health.NOTE, Health.NOTE)
    assert "did you mean CTRLPLANE_WINDOW_SECONDS?" in window.line()
    assert "did you mean CTRLPLANE_HOST_PORT?" in port.line()


def test_what_goes_the_slower_way_is_said_so_with_the_reason() -> None:
    """It is right either way, and several times slower without compiled code: nobody should find that out by a profiler."""
    assert [f.health for f in check_compiled(None, None)] == [Health.OK, Health.OK]
    for missing in (("it was compiled of other sources", None), (None, "it was compiled of other sources")):
        (finding,) = [f for f in check_compiled(*missing) if f.health is not Health.OK]
        assert finding.health is Health.NOTE
        assert "other sources" in finding.what
        assert finding.remedy


@pytest.mark.parametrize(
    ("ahead", "health"), [(0.0, Health.OK), (0.9, Health.OK), (-0.9, Health.OK), (1.5, Health.WRONG), (-60, Health.WRONG)]
)
def test_a_clock_is_wrong_from_a_second_on(ahead: float, health: Health) -> None:
    """In either direction, which it says."""
    finding = clock_finding(ahead)
    assert finding.health is health
    assert health is Health.OK or ("ahead of" if ahead > 0 else "behind") in finding.what


def test_a_role_that_nobody_runs_is_wrong_and_names_the_command() -> None:
    """Stopped with records waiting, and never started, are told apart."""
    stopped, never = role_finding("engine", Group(0, True), {"facts": 7, "control": 0}), role_finding("engine", Group(0, False), {})
    assert stopped.what == "has stopped; waiting: 7 on facts"
    assert never.what == "has never run"
    assert stopped.remedy == never.remedy == "start `ctrlplane-stream worker --role engine`"
    assert role_finding("engine", Group(2, True), {"facts": 0}).health is Health.OK
    assert role_finding("engine", Group(0, True), {}).what == "has stopped; waiting: nothing"
    assert "nothing was committed yet" in role_finding("engine", Group(1, True), {}).what


def test_a_group_of_which_the_broker_does_not_tell_yet_is_no_group_that_there_is_not() -> None:
    """DescribeGroups of Kafka: error code, name, state, two words, members. 14 is a coordinator that still loads."""
    assert read_group((0, "g", "Dead", "", "", [])) == Group(0, False)
    assert read_group((0, "g", "Empty", "", "", [])) == Group(0, True)
    assert read_group((0, "g", "Stable", "", "", [("a",), ("b",)], 0)) == Group(2, True)
    with pytest.raises(GroupLoadInProgressError):
        read_group((14, "g", "", "", "", []))


@pytest.mark.parametrize("error", [RequestTimedOutError(), GroupLoadInProgressError(), TimeoutError(), asyncio.CancelledError()], ids=repr)
def test_what_the_broker_does_not_answer_in_time_is_a_finding_that_says_so(error: BaseException) -> None:
    """And no traceback, nor a word of what it might have found."""

    async def asked() -> list[Finding]:
        raise error

    (found,) = asyncio.run(findings_or_why_not("worker engine", asked()))
    assert (found.check, found.health) == ("worker engine", Health.WRONG)
    assert "could not be read: no answer in time" in found.what
    assert "ask again" in found.remedy


def test_a_topic_for_the_clock_that_may_not_be_made_is_about_rights_and_one_that_comes_late_is_not() -> None:
    """The remedy is for what happened."""
    note = not_measured(TopicAuthorizationFailedError("no"), "t-doctor-1")
    assert (note.health, note.remedy) == (Health.NOTE, "allow creating and deleting topics named t-doctor-*")
    with pytest.raises(RequestTimedOutError):
        not_measured(RequestTimedOutError("slow"), "t-doctor-1")


def test_a_service_is_versionless_only_where_no_request_named_one() -> None:
    """One known version is enough to be judged by; the same service elsewhere is another matter."""
    rows = [("prod", "a", "unknown"), ("prod", "a", "#2"), ("prod", "b", "unknown"), ("test", "a", "unknown")]
    parts = [
        WindowPart(environment, 0, 0, 0, services=(ServiceWindow(service, version, 1, 0, 1.0, 1),))
        for environment, service, version in rows
    ]
    assert versionless(versions_seen(parts)) == ["prod:b", "test:a"]


@pytest.mark.parametrize(("late", "said"), [(0, []), (5, []), (6, ["6% of the requests in the newest windows came after they closed"])])
def test_telemetry_that_comes_after_its_windows_is_a_finding(late: int, said: list[str]) -> None:
    parts = [
        WindowPart("prod", 0, 0, number, services=(ServiceWindow("a", "1", requests, 0, 1.0, 1),))
        for number, requests in ((0, 100 - late), (17, late))
    ]
    assert [found.what for found in late_findings(parts)] == said


def test_two_versions_that_look_like_one_are_found_once_there_is_enough_to_see() -> None:
    """A constant `service.version`: the traffic is shared and its spans name one version."""
    seen = {"prod:a": Counter({"1.0": 90}), "prod:b": Counter({"1.0": 9}), "prod:c": Counter({"1": 80, "2": 20})}
    assert one_version_only(seen, ["prod:a", "prod:b", "prod:c", "prod:d"]) == ["prod:a"]


def test_a_redis_that_does_not_answer_is_told_without_its_password() -> None:
    (finding,) = asyncio.run(check_redis(Settings(redis_url="redis://:open-sesame@127.0.0.1:1")))
    assert (finding.health, "open-sesame" in finding.line()) == (Health.WRONG, False)
