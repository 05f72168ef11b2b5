"""The shop that scenarios play in: four services in a chain and one on an island, and questions about what became of them."""

from msgspec.structs import replace

from ctrlplane_stream.decision.phases import Phase
from ctrlplane_stream.model.world import Capacity
from ctrlplane_stream.simulation.loop import QUICK, Loop, catalog, service

SHOP = ("cart", "front", "pay", "stock")
EDGES = ("front>cart", "cart>pay", "front>stock")


def shop(*, running: bool = True, policy: object = QUICK, **more: object) -> Loop:
    """A shop of four services; ``running``: each has a first version that has baked."""
    loop = Loop.of(catalog(*[service(name, policy, **more) for name in SHOP], service("island", policy)))  # type: ignore[arg-type]
    if running:
        for name in (*SHOP, "island"):
            loop.push(name, 1)
        loop.run(150)
        loop.edges(*EDGES)
    return loop


def release_waiting() -> Loop:
    """A shop that runs cart #2 and moves pay; a release of cart #3 and front #2 waits behind it."""
    loop = shop()
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    loop.push("pay", 2)
    loop.run(5)
    for name, number in (("cart", 3), ("front", 2)):
        loop.push(name, number, release="r1", release_size=2)
    return loop


def old_version_being_parked(**policy: object) -> Loop:
    """A shop whose cart #2 has baked, and whose cart #1 is being parked, slowly."""
    loop = shop(policy=replace(QUICK, **policy))  # type: ignore[arg-type]
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.DRAINING)
    loop.actuation_seconds = 20
    while not any(v.label == "#1" and v.capacity is Capacity.PARKED for v in loop.driver.target("cart").live):
        loop.run(1)
    return loop


def parked_beside_stable(**policy: object) -> Loop:
    """A shop whose cart #2 is stable, with #1 parked for an instant way back."""
    loop = shop(policy=replace(QUICK, **policy))  # type: ignore[arg-type]
    loop.push("cart", 2)
    until(loop, "cart/2", Phase.COMPLETED)
    return loop


def phase(loop: Loop, id_: str) -> Phase:
    """Where a rollout is."""
    rollout = loop.driver.rollout(f"production/{id_}")
    assert rollout is not None, loop.driver.transcript()
    return rollout.phase


def held(loop: Loop, id_: str) -> list[str]:
    """The codes of what holds a rollout."""
    rollout = loop.driver.rollout(f"production/{id_}")
    assert rollout is not None
    return [hold.code for hold in rollout.holds]


def weights(loop: Loop, name: str) -> dict[str, int]:
    """What the world serves."""
    return {label: v.weight for label, v in loop.world.target(name).versions.items() if v.weight}


def reasons(loop: Loop) -> str:
    """All sentences."""
    return "\n".join(reason.text for reason in loop.driver.reasons)


def until(loop: Loop, id_: str, wanted: Phase, limit: float = 900) -> None:
    """Run until a rollout is in a phase."""
    for _ in range(int(limit)):
        if phase(loop, id_) is wanted:
            return
        loop.run(1)
    raise AssertionError(f"{id_} never was {wanted}\n{loop.driver.transcript()}")
