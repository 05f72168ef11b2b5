"""Several targets of one version set in one repository: what moves at once is one commit, and each keeps its own memory in it."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from ctrlplane_stream.actuators.gitops.actuator import GitOps
from ctrlplane_stream.actuators.gitops.placement import Field, GitPlace, Repository, Weights, Writes
from ctrlplane_stream.actuators.gitops.yaml_text import Locator
from ctrlplane_stream.actuators.port import Outcome
from ctrlplane_stream.model.commands import Command
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import Target
from ctrlplane_stream.model.world import Cursor
from tests.contract.actuators.git_repositories import Bare
from tests.unit.actuators.gitops.scene import command, digest, version, wanted

SERVICES = ("shop/cart", "shop/pay")
SET = "shop/cart #2 instead of #1, shop/pay #2 instead of #1; watched: shop/front #7"
FILES = {"cart.yaml": "image: old # cart\n", "pay.yaml": "image: old # pay\n"}


class Shop:
    """A repository with a file for each service."""

    def __init__(self, folder: Path) -> None:
        self.bare = Bare(folder / "repository", FILES)
        self.folder = folder
        self.actuator = self.fresh("first")

    def fresh(self, name: str) -> GitOps:
        repository = Repository(f"file://{self.bare.path}")
        places = {
            Target("production", each): GitPlace(
                repository, (Field(f"{each.rpartition('/')[2]}.yaml", Locator("image"), Writes.DIGEST),), Weights.COMMIT
            )
            for each in SERVICES
        }
        return GitOps(places.get, self.folder / name)

    def at_once(self, *commands: Command, actuator: GitOps | None = None) -> list[Outcome]:
        """All of them in the same moment, as reconcile loops do it."""

        async def run() -> list[Outcome]:
            applies = [(actuator or self.actuator).apply(each, Cursor(1, each.sequence)) for each in commands]
            return await asyncio.gather(*applies)

        return asyncio.run(run())

    def texts(self) -> list[str]:
        return [self.bare.text(name) for name in FILES]


def shift(service: str, number: int, sequence: int, rollout: str | None = "production/shop-cart/2") -> Command:
    """All traffic of the service to a version."""
    target = Target("production", service)
    want = replace(wanted(version(number, 100), stable=f"#{number}"), target=target)
    made = replace(command(want, sequence), id=f"{service}/{sequence}", target=target)
    return replace(made, rollout=rollout, version_set=SET if rollout is not None else "")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_targets_of_one_set_that_move_at_once_are_one_commit(shop: Shop) -> None:
    """Nobody who follows the branch can see half of the set; the message says all of it, and each target finds its cursor again."""
    before = shop.bare.head()
    outcomes = shop.at_once(*(shift(each, 2, 5) for each in SERVICES))
    assert [each.status for each in outcomes] == [OutcomeStatus.APPLIED] * 2
    assert shop.texts() == [text.replace("old", digest(2)) for text in FILES.values()]
    assert len(shop.bare.log()) == 2
    assert shop.bare.log("%P")[0].strip() == before
    assert shop.bare.log()[0] == "2 services in production: shop/cart #2 instead of what was there; shop/pay #2 instead of what was there"
    body = shop.bare.log("%b")[0]
    assert body.count("Why: the step passed.") == body.count(f"Version set: {SET}.") == 1
    assert all(f"{each}: #2 (stable) at 100%." in body for each in SERVICES)

    async def look() -> list[Cursor | None]:
        other = shop.fresh("second")
        return [(await other.observe(Target("production", each))).cursor for each in SERVICES]

    assert asyncio.run(look()) == [Cursor(1, 5)] * 2


def test_targets_of_different_rollouts_are_commits_of_their_own(shop: Shop) -> None:
    """So that taking one back does not take back the other."""
    shop.at_once(shift(SERVICES[0], 2, 5), shift(SERVICES[1], 2, 5, "production/shop-pay/2"))
    assert len(shop.bare.log()) == 3


def test_a_stale_command_of_a_set_does_not_hold_up_the_other(shop: Shop) -> None:
    shop.at_once(shift(SERVICES[0], 2, 5))
    stale, fresh = shop.at_once(shift(SERVICES[0], 3, 4), shift(SERVICES[1], 3, 6))
    assert (stale.status, fresh.status) == (OutcomeStatus.REFUSED, OutcomeStatus.APPLIED)
    assert shop.texts() == [f"image: {digest(2)} # cart\n", f"image: {digest(3)} # pay\n"]


def test_a_field_that_cannot_be_written_refuses_its_target_alone(shop: Shop) -> None:
    shop.bare.push({"pay.yaml": "images: []\n"})
    cart, pay = shop.at_once(*(shift(each, 2, 5) for each in SERVICES))
    assert (cart.status, pay.status) == (OutcomeStatus.APPLIED, OutcomeStatus.REFUSED)
    assert "pay.yaml has no image" in pay.reason


def test_a_repository_that_minds_one_of_them_still_takes_the_other(shop: Shop) -> None:
    """A hook refuses a commit as a whole; tried one by one, what it does not mind goes through."""
    shop.bare.hook("update", 'git diff --name-only "$2" "$3" | grep -q pay.yaml && echo "pay is frozen" && exit 1; exit 0')
    cart, pay = shop.at_once(*(shift(each, 2, 5) for each in SERVICES))
    assert (cart.status, pay.status) == (OutcomeStatus.APPLIED, OutcomeStatus.REFUSED)
    assert "pay is frozen" in pay.reason
    assert shop.texts() == [f"image: {digest(2)} # cart\n", FILES["pay.yaml"]]


def test_a_command_that_was_given_up_is_not_committed_with_the_others(shop: Shop) -> None:
    """An abort that comes before the set was pushed takes the place of what it pre-empts."""

    async def run() -> None:
        first = asyncio.create_task(shop.actuator.apply(shift(SERVICES[0], 2, 5), Cursor(1, 5)))
        other = asyncio.create_task(shop.actuator.apply(shift(SERVICES[1], 2, 5), Cursor(1, 5)))
        await asyncio.sleep(0)
        first.cancel()
        assert (await shop.actuator.apply(shift(SERVICES[0], 1, 6), Cursor(1, 6))).status is OutcomeStatus.APPLIED
        await other

    asyncio.run(run())
    assert shop.texts() == [f"image: {digest(1)} # cart\n", f"image: {digest(2)} # pay\n"]
