"""The driver that users test with."""

from ctrlplane_stream.model.catalog import EnvironmentCatalog, ServiceInEnvironment
from ctrlplane_stream.model.facts import ArtifactPushed, CatalogApplied
from ctrlplane_stream.model.identity import Artifact, ServiceKind
from ctrlplane_stream.model.policy import Policy, Step
from ctrlplane_stream.testing import Driver


def test_whole_seconds_are_decided_alike_before_and_after_a_restart() -> None:
    """An engine that starts again reads 10.0 where a user wrote 10: it was told that the same fact had been decided otherwise."""
    driver = Driver()
    policy = Policy(steps=(Step(50, 10, 60), Step(100, 10, 60)), bake_seconds=20)
    cart = ServiceInEnvironment("cart", ("reg/cart",), ServiceKind.ROUTED, "dry-run", policy)
    driver.pipe(CatalogApplied(EnvironmentCatalog("production", (cart,)), "1", "ada"))
    driver.restart()
    driver.pipe(ArtifactPushed("e1", Artifact("cart", "reg/cart", "sha256:" + "0" * 64)))
    driver.again()
