"""What `catalog apply` says that it changes."""

from ctrlplane_stream.commands.catalog_changes import changes, differences
from ctrlplane_stream.model.catalog import Catalog
from ctrlplane_stream.model.policy import Policy
from ctrlplane_stream.wire.catalog_file import read_catalog_file

BEFORE = """\
policies:
  quick: {bake_seconds: 30}
environments:
  staging: {}
services:
  shop/cart: {images: [registry.example/shop/cart], environments: {staging: {}}}
  shop/web: {images: [registry.example/shop/web], environments: {staging: {}}}
"""


def _catalog(text: str) -> Catalog:
    found = read_catalog_file(text)
    assert isinstance(found, Catalog), found
    return found


def test_the_first_catalog_adds_everything() -> None:
    assert changes(None, _catalog(BEFORE)) == [
        "environments: staging added",
        "services: shop/cart, shop/web added",
        "policies: quick added",
    ]


def test_only_what_is_another_one_is_named() -> None:
    after = BEFORE.replace("shop/web:", "shop/pay:").replace("bake_seconds: 30", "bake_seconds: 40")
    assert changes(_catalog(BEFORE), _catalog(after)) == ["services: shop/pay added; shop/web removed", "policies: quick changed"]
    assert changes(_catalog(BEFORE), _catalog(BEFORE)) == []


def test_what_changes_is_told_by_its_place_in_the_file_with_what_was_and_what_will_be() -> None:
    """Not as lines of the JSON that the topic holds, which has every default and is nobody's file."""
    after = BEFORE
    for old, new in (
        ("bake_seconds: 30", "bake_seconds: 40, drain_seconds: 7"),
        ("shop/web:", "shop/pay:"),
        ("[registry.example/shop/cart], environments: {staging: {}}", "[a/cart, b/cart], configuration: {limit: '5'}, environments: {}"),
        ("staging: {}\n", "staging: {notify: https://hooks.example/x}\n"),
    ):
        assert old in after
        after = after.replace(old, new)
    default = Policy()
    assert sorted(differences(_catalog(BEFORE), _catalog(after))) == [
        "environments.staging.notify: nothing -> https://hooks.example/x",
        "policies.quick.bake_seconds: 30.0 -> 40.0",
        f"policies.quick.drain_seconds: {default.drain_seconds} -> 7.0",
        "services.shop/cart.configuration.limit: nothing -> '5'",
        "services.shop/cart.environments.staging: {} -> nothing",
        "services.shop/cart.images: [registry.example/shop/cart] -> [a/cart, b/cart]",
        "services.shop/pay: nothing -> {images: [registry.example/shop/web], environments: {staging: {}}}",
        "services.shop/web: {images: [registry.example/shop/web], environments: {staging: {}}} -> nothing",
    ]
    assert differences(_catalog(BEFORE), _catalog(BEFORE)) == []


def test_of_lists_of_one_length_what_differs_is_told_and_of_others_the_whole() -> None:
    """A step has its place, as the mistakes of a file name it, until there is one more."""
    steps = "quick: {steps: [{weight: 10, min_seconds: 5}, {weight: 100}]}"
    before = BEFORE.replace("quick: {bake_seconds: 30}", steps)
    assert differences(_catalog(before), _catalog(before.replace("min_seconds: 5", "min_seconds: 6"))) == [
        "policies.quick.steps.0.min_seconds: 5.0 -> 6.0"
    ]
    more = before.replace(", {weight: 100}", ", {weight: 50}, {weight: 100}")
    two = "[{weight: 10, min_seconds: 5.0}, {weight: 100}]"
    three = "[{weight: 10, min_seconds: 5.0}, {weight: 50}, {weight: 100}]"
    assert differences(_catalog(before), _catalog(more)) == [f"policies.quick.steps: {two} -> {three}"]
