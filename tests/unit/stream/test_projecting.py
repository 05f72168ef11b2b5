"""What a decision is to the outside."""

import json

import msgspec

from ctrlplane_stream.model.commands import Announce, Declare, Notify
from ctrlplane_stream.model.decisions import GONE, Claim, Decided, Disposition, Parked, Reason
from ctrlplane_stream.model.facts import Provenance
from ctrlplane_stream.model.identity import Artifact
from ctrlplane_stream.model.verdicts import INSTANCES, Culprit, Verdict, VerdictStatus
from ctrlplane_stream.stream.projecting import letters_of, notices_of
from ctrlplane_stream.wire.artifacts import read_artifact
from ctrlplane_stream.wire.cloudevents import Unreadable
from ctrlplane_stream.wire.kafka_clients import partition_of
from ctrlplane_stream.wire.verdicts import read_verdict

CART = Artifact("shop/cart", "registry.example/shop/cart", "sha256:" + "ab" * 32)


FAILED = Verdict(
    judge=INSTANCES,
    environment="staging",
    rollout="staging/shop-cart/1",
    step=1,
    attempt=2,
    status=VerdictStatus.FAIL,
    reason="shop/cart #1 fails: crash loop",
    culprit=Culprit("shop/cart", "#1"),
)


def _decided() -> Decided:
    return Decided(
        environment="staging",
        epoch=3,
        fact_offset=9,
        sequence=7,
        build="b",
        at_ms=1,
        disposition=Disposition.APPLIED,
        outputs=(Announce("staging/7/0", CART, "production", None, Provenance(commit="c0ffee")),),
        reasons=(Reason("moved", "it went on", "staging/shop-cart/1"), Reason("other", "another", "staging/shop-till/1")),
        delta={"clock": msgspec.Raw(b"{}"), "rollout/staging/shop-cart/1": msgspec.Raw(b'{"phase":"baking"}'), "set/x": msgspec.Raw(GONE)},
    )


def test_a_changed_rollout_is_an_event_with_its_reasons_and_sequence() -> None:
    """Its own reasons only, on its environment's partition; the id is the decision's, so a repetition is known."""
    rollout, gone, _ = letters_of(_decided(), 8)
    event = json.loads(rollout.value or b"")
    assert (rollout.topic, rollout.partition, event["id"]) == ("rollouts", partition_of("staging", 8), "staging/shop-cart/1@7")
    assert event["data"]["value"] == {"phase": "baking"}
    assert [r["text"] for r in event["data"]["reasons"]] == ["it went on"]
    assert (gone.topic, json.loads(gone.value or b"")["data"]["value"]) == ("version-sets", None)


def test_an_announcement_is_an_artifact_event_that_ingest_reads() -> None:
    """With the next environment named, and the provenance kept."""
    *_, announced = letters_of(_decided(), 8)
    found = read_artifact(announced.value)
    assert not isinstance(found, Unreadable)
    assert (announced.topic, found.environment, found.digest, found.provenance.commit) == ("artifacts", "production", CART.digest, "c0ffee")


def test_a_verdict_without_a_judge_is_said_where_all_are_and_ingest_reads_it() -> None:
    """On its environment's partition, whole, and with the same id however often the decision is projected."""
    decided = msgspec.structs.replace(_decided(), outputs=(Declare("staging/shop-cart/1/instances@7", FAILED),), delta={})
    (said,), again = letters_of(decided, 8), tuple(letters_of(decided, 8))
    assert (said.topic, said.partition, said.key) == ("health-verdicts", partition_of("staging", 8), b"staging")
    assert read_verdict(said.value) == FAILED
    assert again == (said,)


def test_people_are_told_by_decisions_and_by_facts_that_are_parked() -> None:
    """By the records of earlier builds too, whose parked facts tell nothing."""
    told = Notify("n", "held", "", None, {}, "")
    decided = msgspec.structs.replace(_decided(), outputs=(*_decided().outputs, told))
    parked = Parked("staging", 3, 9, "b", "KeyError: 'x'")
    records = (decided, parked, msgspec.structs.replace(parked, notice=told), Claim("w", "b"))
    assert [notices_of(record) for record in records] == [(told,), (), (told,), ()]
