"""What `advice` says of a service that another tool moves, and with which exit status."""

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from ctrlplane_stream.cli import main
from ctrlplane_stream.commands.advice import advised
from ctrlplane_stream.model.policy import Mode
from ctrlplane_stream.simulation.loop import QUICK, Loop, catalog, service


@pytest.mark.parametrize(
    "arguments",
    [
        ["prod:cart", "--kafka-bootstrap-servers", ""],
        ["prod:cart", "--kafka-bootstrap-servers", "127.0.0.1:1"],
    ],
)
def test_what_could_not_be_asked_is_no_advice_to_abort(arguments: list[str]) -> None:
    """A script that aborts on 1 must not do so since no broker answered."""
    result = CliRunner().invoke(main, ["advice", *arguments], env={"KAFKA_BOOTSTRAP_SERVERS": ""})
    assert result.exit_code == 3
    assert result.output


def test_an_error_that_nobody_thought_of_is_no_advice_to_abort(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("ctrlplane_stream.commands.advice.look_at_state", broken)
    assert CliRunner().invoke(main, ["advice", "prod:cart", "--kafka-bootstrap-servers", "127.0.0.1:1"]).exit_code == 3


def _loop() -> Loop:
    loop = Loop.of(catalog(service("cart", replace(QUICK, mode=Mode.ADVISE))))
    loop.moves("cart", v1=1000)
    loop.run(20)
    return loop


def test_where_nothing_is_rolled_out_there_is_no_advice_and_a_status_of_its_own() -> None:
    found = advised(_loop().driver.state, "cart", None)
    assert (found.status, found.text) == (3, "no rollout of cart was seen; seen were: none")


def test_the_status_follows_the_word() -> None:
    loop = _loop()
    loop.moves("cart", v1=900, v2=100)
    loop.run(30)
    assert advised(loop.driver.state, "cart", None).status == 4
    loop.run(60)
    found = advised(loop.driver.state, "cart", None)
    assert (found.status, found.version, found.weights) == (0, "v2", {"v1": 90, "v2": 10})
    loop.judge.faulty.add(("cart", "v2"))
    loop.run(20)
    assert advised(loop.driver.state, "cart", "v2").status == 1


def test_advice_on_another_version_than_was_seen_is_none() -> None:
    loop = _loop()
    loop.moves("cart", v1=900, v2=100)
    loop.run(30)
    assert advised(loop.driver.state, "cart", "v3").text == "no rollout of cart to v3 was seen; seen were: v2"


def test_a_service_that_we_move_ourselves_is_told_from_one_of_which_nothing_was_seen() -> None:
    loop = Loop.of(catalog(service("cart"), service("pay", replace(QUICK, mode=Mode.ADVISE))))
    found = advised(loop.driver.state, "cart", None)
    assert (found.status, "cart is not in mode advise: we roll it out ourselves" in found.text) == (3, True)
    assert "was seen" in advised(loop.driver.state, "pay", None).text
