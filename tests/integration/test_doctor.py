"""``doctor`` against a real broker: in order, missing, lagging, gone."""

import asyncio
import hashlib
import json
import time
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from click.testing import CliRunner, Result

from ctrlplane_stream.cli import main
from ctrlplane_stream.commands.checkup_roles import check_role, group_of
from ctrlplane_stream.commands.doctor import doctor
from ctrlplane_stream.commands.findings import Finding
from ctrlplane_stream.commands.unread import findings_or_why_not
from ctrlplane_stream.local.kafka import EmbeddedKafka
from ctrlplane_stream.local.processes import free_port
from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.model.windows import EdgeWindow, ServiceWindow, WindowPart
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.dead_letters import letter_headers
from ctrlplane_stream.wire.kafka_clients import producer, publish
from ctrlplane_stream.wire.topic_admin import admin_client


def _run(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(doctor, arguments, env=settings.variables())


def _by_check(result: Result) -> dict[str, dict[str, str]]:
    return {finding["check"]: finding for finding in json.loads(result.stdout)}


def test_topics_that_are_missing_or_differ_are_wrong_with_the_command_that_mends_them(kafka_settings: Settings) -> None:
    """Before `topics apply` everything is missing, and doctor's exit status says that something is wrong."""
    result = _run(kafka_settings, "--json")
    finding = _by_check(result)["topics"]
    assert (result.exit_code, finding["health"], finding["remedy"]) == (3, "wrong", "run `ctrlplane-stream topics apply`")


def test_a_setting_that_is_wrong_for_every_topic_is_one_finding(topics: Settings) -> None:
    """With what to set; and no check that needs the number waits for partitions that are not there."""
    result = _run(msgspec.structs.replace(topics, partitions=9), "--json")
    (finding,) = (found for found in json.loads(result.stdout) if found["check"] == "topics")
    assert finding["what"].startswith(f"each of 16 topics ({topics.topic_prefix}artifacts, ")
    assert (") has 4 partitions and 9 are set" in finding["what"], "CTRLPLANE_PARTITIONS=4" in finding["remedy"]) == (True, True)


def test_topics_and_clock_in_order_say_so_and_nothing_is_left_behind(topics: Settings) -> None:
    """The topic that the clock was read from is gone afterwards."""
    found = _by_check(_run(topics, "--json"))
    assert {check: found[check]["health"] for check in ("settings", "broker", "topics", "clock", "versions")} == dict.fromkeys(
        ("settings", "broker", "topics", "clock", "versions"), "ok"
    )
    assert asyncio.run(_topics_named(topics, f"{topics.topic_prefix}doctor-")) == []


def test_a_role_that_stopped_with_records_waiting_is_wrong(topics: Settings) -> None:
    """The records that its group has not committed are counted, and the roles that never ran are told apart."""
    asyncio.run(_work_on_two_of_five(topics))
    found = _by_check(_run(topics, "--json"))
    assert found["worker engine"]["what"] == "has stopped; waiting: 3 on facts"
    assert found["worker judge"]["what"] == "has never run"


def test_dead_letters_are_counted_by_topic_with_the_command_to_look_at_them(topics: Settings) -> None:
    """A note: they stay for weeks, and somebody may have mended all."""
    assert _by_check(_run(topics, "--json"))["dead letters"] == {"check": "dead letters", "health": "ok", "what": "none", "remedy": ""}
    asyncio.run(_dead(topics, "facts", "facts", "artifacts"))
    finding = _by_check(_run(topics, "--json"))["dead letters"]
    assert (finding["health"], finding["what"].partition(";")[0]) == ("note", "2 of facts, 1 of artifacts")
    assert "`ctrlplane-stream dead-letters list`" in finding["remedy"]


def test_a_service_without_versions_is_named_from_its_telemetry(topics: Settings) -> None:
    """The newest windows say which services cannot be judged."""
    part = WindowPart("prod", 0, 0, 0, services=(ServiceWindow("shop/cart", "unknown", 9, 0, 9.0, 9),))
    asyncio.run(publish(topics, "telemetry-windows", msgspec.json.encode(part), environment="prod"))
    finding = _by_check(_run(topics, "--json"))["versions"]
    assert (finding["health"], "prod:shop/cart" in finding["what"]) == ("wrong", True)


def test_what_somebody_wrote_among_the_windows_is_passed_over(topics: Settings) -> None:
    """It stays for thirty days, and is a dead letter once a worker has read it: every look at the windows goes on without it."""
    for value in (b'{"a":' * 5_000, b'{"type":"\xff\xfe"}', b"garbage", b""):
        asyncio.run(publish(topics, "telemetry-windows", value, environment="prod"))
    calls = EdgeWindow("shop/web", "shop/cart", EdgeKind.CALL, "1", "unknown", 9, 0, 9.0, 0.0)
    part = WindowPart("prod", 0, round(time.time()), 0, (calls,), (ServiceWindow("shop/cart", "unknown", 9, 0, 9.0, 9),))
    asyncio.run(publish(topics, "telemetry-windows", msgspec.json.encode(part), environment="prod"))
    assert "prod:shop/cart" in _by_check(_run(topics, "--json"))["versions"]["what"]
    graph = CliRunner().invoke(main, ["graph", "--live", "prod", "--json"], env=topics.variables())
    assert (graph.exit_code, [edge["callee"] for edge in json.loads(graph.stdout)["edges"]]) == (0, ["shop/cart"])


def test_a_changed_template_shows_in_diff_and_in_doctor_until_it_is_applied(topics: Settings, tmp_path: Path) -> None:
    """What is in force is the digest of what lay beside the catalog, and what is shown of it can be applied again."""
    catalog, template = tmp_path / "catalog.yaml", tmp_path / "cart.yaml"
    catalog.write_text("""environments: {staging: {actuator: kubernetes}}
services: {shop/cart: {images: [a/cart], template: cart.yaml, environments: {staging: {}}}}""")
    (tmp_path / "placement.yaml").write_text("""environments: {staging: {namespace: shop}}
services: {shop/cart: {template: cart.yaml}}""")
    told = msgspec.structs.replace(topics, kubernetes_placement=str(tmp_path / "placement.yaml"))

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["catalog", *arguments], env=topics.variables())

    def said_of_templates() -> list[tuple[str, str]]:
        findings = json.loads(_run(told, "--json").stdout)
        return [(found["check"], found["health"]) for found in findings if found["check"].startswith("template")]

    template.write_text(_DEPLOYMENT)
    assert run("apply", str(catalog), "--wait", "0").exit_code == 0
    assert said_of_templates() == [("templates", "ok")]
    template.write_text(_DEPLOYMENT + "# changed\n")
    assert f"cart.yaml@sha256:{hashlib.sha256(_DEPLOYMENT.encode()).hexdigest()} -> cart.yaml@" in run("diff", str(catalog)).stdout
    assert said_of_templates() == [("template staging:shop/cart", "wrong")]
    shown = tmp_path / "elsewhere" / "catalog.yaml"
    shown.parent.mkdir()
    shown.write_text(run("show").stdout)
    assert run("diff", str(shown)).stdout == "the file is what is in force\n"
    assert run("apply", str(catalog), "--wait", "0").exit_code == 0
    assert said_of_templates() == [("templates", "ok")]


_DEPLOYMENT = """\
{kind: Deployment, metadata: {name: cart}, spec: {template: {spec: {containers: [{name: cart, image: x}]}}}}
"""


def test_no_broker_is_a_finding_and_not_a_traceback() -> None:
    """Named but absent, and not named at all."""
    for servers in (f"127.0.0.1:{free_port()}", ""):
        result = _run(Settings(kafka_bootstrap_servers=servers))
        assert result.exit_code == 3
        assert "wrong  broker" in result.stdout


def test_a_broker_that_stands_still_is_said_not_to_have_answered_of_each_role(own_kafka: EmbeddedKafka) -> None:
    """It says of no role that it has never run: nobody knows."""

    async def asked() -> list[Finding]:
        settings = Settings(kafka_bootstrap_servers=own_kafka.bootstrap)
        client = AIOKafkaAdminClient(bootstrap_servers=own_kafka.bootstrap, request_timeout_ms=500)
        await client.start()
        own_kafka.pause()
        try:
            return await findings_or_why_not("worker engine", check_role(client, settings, "engine"))
        finally:
            own_kafka.resume()
            await client.close()

    (found,) = asyncio.run(asked())
    assert "could not be read: no answer in time" in found.line()


async def _work_on_two_of_five(settings: Settings) -> None:
    for number in range(5):
        await publish(settings, "facts", str(number).encode(), environment="prod")
    group = group_of(settings, "engine")
    async with AIOKafkaConsumer(
        settings.topic("facts"),
        bootstrap_servers=settings.kafka_bootstrap_servers,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    ) as consumer:
        for _ in range(2):
            await consumer.getone()
        await consumer.commit()


async def _dead(settings: Settings, *origins: str) -> None:
    async with producer(settings) as client:
        for offset, topic in enumerate(origins):
            headers = letter_headers(topic, 0, offset, "not JSON", 1)
            await client.send_and_wait(settings.topic("dead-letters"), b"", partition=offset % 2, headers=list(headers))


async def _topics_named(settings: Settings, prefix: str) -> list[str]:
    async with admin_client(settings) as client:
        return [name for name in await client.list_topics() if name.startswith(prefix)]
