"""What `catalog apply` says that it changes."""

from ctrlplane_stream.commands.catalog_changes import changes
from ctrlplane_stream.model.catalog import Catalog
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
