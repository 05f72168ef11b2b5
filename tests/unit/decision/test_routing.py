"""Where an offered artifact goes."""

from ctrlplane_stream.decision.routing import destinations
from ctrlplane_stream.model.catalog import Catalog, EnvironmentEntry, ServiceEntry, ServiceOverride

IMAGE = "registry.example/shop/cart"
CATALOG = Catalog(
    environments={"staging": EnvironmentEntry(), "production": EnvironmentEntry(promote_from="staging"), "lab": EnvironmentEntry()},
    services={
        "shop/cart": ServiceEntry((IMAGE,), {"staging": ServiceOverride(), "production": ServiceOverride()}),
        "shop/cart-worker": ServiceEntry((IMAGE,), {"lab": ServiceOverride()}),
    },
)


def test_without_an_environment_an_artifact_starts_where_nothing_promotes_from_elsewhere() -> None:
    """Production waits for a bake in staging; the lab promotes from nowhere."""
    assert destinations(CATALOG, IMAGE, None, None) == (("staging", "shop/cart"), ("lab", "shop/cart-worker"))


def test_a_named_environment_is_taken_at_its_word() -> None:
    """A person or a promotion may go to production directly."""
    assert destinations(CATALOG, IMAGE, "shop/cart", "production") == (("production", "shop/cart"),)


def test_a_repository_that_the_catalog_does_not_allow_starts_nothing() -> None:
    """The refusal says what to add."""
    refused = destinations(CATALOG, "registry.example/evil", None, None)
    assert isinstance(refused, str)
    assert "add it to the service's images" in refused


def test_an_image_of_another_service_is_refused() -> None:
    """The event's own word for the service must agree with the catalog."""
    assert isinstance(destinations(CATALOG, IMAGE, "shop/till", None), str)


def test_a_service_that_does_not_run_there_is_refused() -> None:
    """An environment unknown to the service is said by name."""
    refused = destinations(CATALOG, IMAGE, "shop/cart", "lab")
    assert isinstance(refused, str)
    assert "lab" in refused
