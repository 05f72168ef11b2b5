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


def test_an_environment_that_does_not_run_a_service_is_passed_over_not_the_bake_before_it() -> None:
    """Its artifacts neither go to production at the push, nor to where nobody takes them; what runs nowhere before comes at once."""
    chain = {
        "staging": EnvironmentEntry(),
        "qa": EnvironmentEntry(promote_from="staging"),
        "production": EnvironmentEntry(promote_from="qa"),
    }
    runs = {"cart": ("staging", "qa", "production"), "mail": ("staging", "production"), "ops": ("production",)}
    services = {name: ServiceEntry((name,), {place: ServiceOverride() for place in places}) for name, places in runs.items()}
    catalog = Catalog(chain, services)
    assert [destinations(catalog, name, None, None) for name in runs] == [
        (("staging", "cart"),),
        (("staging", "mail"),),
        (("production", "ops"),),
    ]
    assert [catalog.view(place).onward for place in chain] == [{"mail": ("production",)}, {}, {}]
    assert [catalog.view(place).promotes_to for place in chain] == [("qa",), ("production",), ()]


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
