"""The demo is the product's main job: every act plays on real parts, and the topics say what it promises.

Half of the acts play beside the other half, each demo with a broker, a worker and a shop of its own: one uses less than a core.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from ctrlplane_stream.local.demo.act import Act
from ctrlplane_stream.local.demo.play import ALL_ACTS, chosen_acts
from ctrlplane_stream.local.demo.report import DemoReport

pytestmark = pytest.mark.timeout(1000)

_MIDDLE = [act.name for act in ALL_ACTS].index("configuration")
HALVES = (ALL_ACTS[:_MIDDLE], ALL_ACTS[_MIDDLE:])


class Played:
    """A demo that plays these acts, started at once."""

    def __init__(self, acts: tuple[Act, ...], folder: Path) -> None:
        self._report, self._said = folder / "report.json", folder / "said"
        command = [sys.executable, "-m", "ctrlplane_stream", "demo", "--acts", ",".join(act.name for act in acts)]
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [*command, "--report", str(self._report), "--logs", str(folder / "logs")],
                stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def report(self) -> DemoReport:
        """What it reported, once it has ended; its exit status must agree."""
        status = self.process.wait(900)
        said = self._said.read_text()
        assert self._report.exists(), f"the demo ended with status {status}:\n{said[-6000:]}"
        found = msgspec.json.decode(self._report.read_bytes(), type=DemoReport)
        broken = {act.name: act.failures for act in found.acts if not act.kept}
        assert not broken, f"{broken}\n{said[-8000:]}"
        assert status == 0
        return found


@contextmanager
def _playing(folder: Path) -> Iterator[list[Played]]:
    """Both halves at once; whatever happens, none is left."""
    played: list[Played] = []
    try:
        for number, acts in enumerate(HALVES):
            (folder / str(number)).mkdir()
            played.append(Played(acts, folder / str(number)))
        yield played
    finally:
        for one in played:
            one.process.terminate()
        for one in played:
            one.process.wait(60)


def test_every_act_keeps_its_promise(tmp_path: Path) -> None:
    """All that `ACTS=all make demo` plays: exit status 0, and in the reports every act, with the figures that show it."""
    assert (*HALVES[0], *HALVES[1]) == chosen_acts("all")
    with _playing(tmp_path) as played:
        reports = [one.report() for one in played]
    acts = {act.name: act for report in reports for act in report.acts}
    assert list(acts) == [act.name for act in ALL_ACTS]
    assert all(key.isidentifier() for act in acts.values() for key in act.figures), "a key is a name and no sentence"
    good = acts["good release"].rollouts[0]
    assert good.proven_steps + len(good.unproven_steps) == 5, "four steps and the bake, each passed on proof or on a soak"
    assert acts["untouched"].figures["commands_to_the_second_group"] == 0
    ungated = acts["ungated"].figures
    assert ungated["seconds_from_first_harm_to_weight_0_without_it"] > 0
    assert "seconds_from_first_harm_to_weight_0_with_the_gate" in ungated, "measured alike; None where it harmed nobody"
    assert all(report.machine is not None and report.machine.waited_share for report in reports)
    bad = acts["bad release"].rollouts[0]
    assert bad.phase == "reverted"
    assert bad.harmed_requests is not None
    assert bad.exposed_requests is not None
    assert bad.harmed_requests <= bad.exposed_requests
    for name, why in (("never ready", "never had any weight"), ("consumer", "no user waits for it")):
        (uncounted,) = acts[name].rollouts
        assert (uncounted.exposed_requests, uncounted.other_requests, why in uncounted.about_requests) == (None, None, True)
    assert "answers without it" in acts["configuration"].rollouts[0].about_requests
    assert {"shop/pricing", "shop/cart"} <= set(bad.watched)
    assert {"blog/web", "blog/posts"} <= set(bad.not_watched)
    assert bad.decisions
    assert [d.offset for d in bad.decisions] == sorted(d.offset for d in bad.decisions)
