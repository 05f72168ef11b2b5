"""``dead-letters list`` and ``replay`` against a real broker."""

import asyncio
import json
import urllib.request
from collections.abc import Sequence

import msgspec
import pytest
from aiokafka import ConsumerRecord
from click.testing import CliRunner, Result

from ctrlplane_stream.commands.dead_letters import dead_letters
from ctrlplane_stream.local.workers import Workers
from ctrlplane_stream.settings import Settings
from ctrlplane_stream.wire.dead_letters import letter_headers, read_letter
from ctrlplane_stream.wire.kafka_clients import producer, read_to_end

_GARBAGE = b"\xff\x00 not JSON"


def _run(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(dead_letters, arguments, env=settings.variables())


def test_a_replayed_letter_is_the_record_that_it_was(topics: Settings) -> None:
    """Same topic, partition, key, bytes and headers, and a header that says which letter it was."""
    origin = letter_headers("artifacts", 2, 40, "not JSON", 1_700_000_000_000, key=b"k", headers=[("ce_id", b"7")])
    asyncio.run(_write(topics, 1, _GARBAGE, origin))
    assert _run(topics, "replay", "--topic", "artifacts").exit_code == 0
    (back,) = asyncio.run(_read(topics, "artifacts"))
    assert (back.partition, back.key, back.value) == (2, b"k", _GARBAGE)
    assert back.headers == (("ce_id", b"7"), ("replay-of", b"1:0"))


def test_a_list_shows_each_letter_and_sums_by_reason(topics: Settings) -> None:
    """What is shown can be narrowed; the sums are of what was meant, not of what was shown."""
    for number in range(5):
        asyncio.run(_write(topics, 0, _GARBAGE, letter_headers("control", 0, number, "no such verb", 1_700_000_000_000 + number)))
    asyncio.run(_write(topics, 3, None, letter_headers("artifacts", 1, 9, "no digest", 1_700_000_000_000)))
    shown = json.loads(_run(topics, "list", "--json", "--limit", "2", "--reason", "VERB").stdout)
    assert [letter["origin"] for letter in shown["letters"]] == [[0, 3], [0, 4]]
    assert shown["counts"] == [{"topic": "control", "reason": "no such verb", "count": 5}]
    words = _run(topics, "list", "--at", "3:0").stdout
    assert "artifacts[1:9]  no digest" in words
    assert "dead letters: 1" in words


def test_a_dry_run_and_a_letter_of_no_origin_write_nothing(topics: Settings) -> None:
    """Nothing is guessed: a record that does not say where it came from stays where it is."""
    asyncio.run(_write(topics, 0, _GARBAGE, ()))
    asyncio.run(_write(topics, 0, _GARBAGE, letter_headers("control", 0, 0, "no such verb", 1)))
    assert json.loads(_run(topics, "replay", "--all", "--dry-run", "--json").stdout) == _did(replayed=1, skipped=1, dry_run=True)
    assert asyncio.run(_read(topics, "control")) == []


@pytest.mark.parametrize("topic", ["decisions", "dependency-table", "judge-state", "pair-checkpoints"])
def test_nothing_is_written_back_to_what_one_role_writes_alone(topic: str, topics: Settings) -> None:
    """The owner of a log would take a foreign record for another owner's, and what is kept by key would be undone; a lost notification,
    whose letter came from the log, is skipped.
    """
    asyncio.run(_write(topics, 0, _GARBAGE, letter_headers(topic, 0, 5, "the webhook did not take it", 1, key=b"production/head")))
    assert json.loads(_run(topics, "replay", "--all", "--json").stdout) == _did(skipped=1)
    assert asyncio.run(_read(topics, topic)) == []


def test_what_was_replayed_and_came_back_is_replayed_once_more_and_not_twice(topics: Settings) -> None:
    """The newer letter stands for the older, so that each `--all` writes as many as the one before it, unless one is named."""
    asyncio.run(_write(topics, 0, _GARBAGE, letter_headers("control", 0, 0, "no such verb", 1)))
    assert json.loads(_run(topics, "replay", "--all", "--json").stdout) == _did(replayed=1)
    asyncio.run(_write(topics, 0, _GARBAGE, letter_headers("control", 0, 1, "no such verb", 2, headers=[("replay-of", b"0:0")])))
    assert json.loads(_run(topics, "replay", "--all", "--json").stdout) == _did(replayed=1, came_back=1)
    assert "skipped 1 that were replayed before and came back" in _run(topics, "replay", "--reason", "verb", "--dry-run").stdout
    assert json.loads(_run(topics, "replay", "--at", "0:0", "--json").stdout) == _did(replayed=1)


def test_of_letters_about_one_record_one_is_written_back(topics: Settings) -> None:
    """A former owner of a partition may write one yet while a new one does."""
    for at_ms in (1, 2):
        asyncio.run(_write(topics, 0, _GARBAGE, letter_headers("facts", 3, 7, "not JSON", at_ms)))
    assert json.loads(_run(topics, "replay", "--all", "--json").stdout) == _did(replayed=1, repeated=1)
    asyncio.run(_write(topics, 0, _GARBAGE, letter_headers("facts", 3, 8, "not JSON", 3, headers=[("replay-of", b"0:0")])))
    assert json.loads(_run(topics, "replay", "--all", "--json").stdout) == _did(replayed=1, came_back=1, repeated=1)


@pytest.mark.parametrize(("role", "topic"), [("engine", "facts"), ("judge", "telemetry-windows"), ("spans", "span-halves")])
def test_a_record_has_one_letter_however_many_owners_read_it(
    topics: Settings, workers: Workers, role: str, topic: str, metrics_port: int
) -> None:
    """Each new owner of an internal topic begins before what the last one refused, and tells, and counts, of what is new alone."""
    told = msgspec.structs.replace(topics, metrics_port=metrics_port)
    garbage: list[int] = []
    for _ in range(3):
        garbage.append(asyncio.run(_send(topics, topic, 0, _GARBAGE)))
        workers.start(told, role, "one").wait_ready(lambda: garbage[-1] in _origins(topics, topic), 90.0)
        assert _origins(topics, topic) == garbage
        assert f'ctrlplane_dead_letters_total{{role="{role}",topic="{topic}"}} 1.0' in _metrics(metrics_port)
        workers.kill("one")


def test_a_letter_that_is_named_and_not_there_is_said_and_the_others_are_replayed(topics: Settings) -> None:
    """Status 1: whoever mistyped a place must not take it for replayed."""
    asyncio.run(_write(topics, 0, _GARBAGE, letter_headers("control", 0, 0, "no such verb", 1)))
    did = _run(topics, "replay", "--at", "0:99", "--at", "0:0", "--at", "2:7", "--json")
    assert (did.exit_code, json.loads(did.stdout)) == (1, _did(replayed=1, not_found=["0:99", "2:7"]))
    assert "there is no such dead letter: 0:99, 2:7" in did.stderr
    other = _run(topics, "replay", "--at", "0:0", "--topic", "artifacts")
    assert (other.exit_code, "no such dead letter of that topic or reason: 0:0" in other.stderr) == (1, True)


def _did(
    *, replayed: int = 0, skipped: int = 0, came_back: int = 0, repeated: int = 0, not_found: Sequence[str] = (), dry_run: bool = False
) -> dict[str, object]:
    passed_over = {"skipped": skipped, "came_back": came_back, "repeated": repeated}
    return {"replayed": replayed, **passed_over, "not_found": list(not_found), "dry_run": dry_run}


def test_a_replay_of_everything_must_be_said() -> None:
    """Forgetting the condition is a usage error, not a flood."""
    refused = CliRunner().invoke(dead_letters, ["replay"], env={"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"})
    assert (refused.exit_code, "--all" in refused.stderr) == (2, True)


async def _write(settings: Settings, partition: int, value: bytes | None, headers: tuple[tuple[str, bytes], ...]) -> None:
    async with producer(settings) as client:
        await client.send_and_wait(settings.topic("dead-letters"), value, key=b"k", partition=partition, headers=list(headers))


async def _send(settings: Settings, topic: str, partition: int, value: bytes) -> int:
    async with producer(settings) as client:
        return (await client.send_and_wait(settings.topic(topic), value, partition=partition)).offset


def _origins(settings: Settings, topic: str) -> list[int]:
    """Offsets of the records of this topic that there are letters about, in their order."""
    letters = [read_letter(r.partition, r.offset, r.value, r.headers) for r in asyncio.run(_read(settings, "dead-letters"))]
    return [letter.origin[1] for letter in letters if letter.topic == topic]


def _metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10.0) as answer:
        return str(answer.read().decode())


async def _read(settings: Settings, topic: str) -> list[ConsumerRecord]:
    return [record async for record in read_to_end(settings, topic)]
