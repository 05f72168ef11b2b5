"""What ``doctor`` says of templates that are not the same in catalog and placement file."""

from pathlib import Path

from ctrlplane_stream.actuators.kubernetes.placement import read_placements
from ctrlplane_stream.commands.checkup_templates import compared
from ctrlplane_stream.commands.findings import Health
from ctrlplane_stream.model.catalog import Catalog
from ctrlplane_stream.wire.catalog_file import read_catalog_file
from tests.unit.actuators.kubernetes.test_placement import GOOD, written

CATALOG = """\
environments: {staging: {actuator: kubernetes}, production: {actuator: kubernetes}, trial: {}}
services:
  shop/cart: {images: [a/cart], template: cart.yaml, environments: {staging: {}, production: {}, trial: {}}}
  shop/elsewhere: {images: [a/b], template: cart.yaml, environments: {staging: {}}}
"""


def _catalog(folder: Path, text: str = CATALOG) -> Catalog:
    found = read_catalog_file(text, lambda name: (folder / name).read_bytes())
    assert isinstance(found, Catalog)
    return found


def test_the_same_template_is_said_in_one_line_for_all(tmp_path: Path) -> None:
    placements = read_placements(written(tmp_path, GOOD))
    (finding,) = compared(_catalog(tmp_path), placements)
    assert (finding.health, finding.what) == (Health.OK, "of 2 targets the placement file has what the catalog names")


def test_a_template_that_differs_is_a_line_for_each_target_with_both_digests_and_what_to_do(tmp_path: Path) -> None:
    placements = read_placements(written(tmp_path, GOOD))
    (tmp_path / "cart.yaml").write_text("another")
    catalog = _catalog(tmp_path)
    found = compared(catalog, placements)
    assert [(f.health, f.check) for f in found] == [(Health.WRONG, f"template {each}:shop/cart") for each in ("production", "staging")]
    assert str(catalog.services["shop/cart"].template) in found[0].what
    assert "has cart.yaml@sha256:" in found[0].what
    assert "`ctrlplane-stream catalog apply`" in found[0].remedy


def test_the_catalog_of_the_example_names_the_template_of_its_placement() -> None:
    folder = Path(__file__).parents[3] / "examples" / "gitops"
    (finding,) = compared(_catalog(folder, (folder / "catalog.yaml").read_text()), read_placements(folder / "kubernetes.yaml"))
    assert finding.health is Health.OK


def test_a_service_whose_template_the_catalog_does_not_name_is_a_note(tmp_path: Path) -> None:
    placements = read_placements(written(tmp_path, GOOD))
    (finding,) = compared(_catalog(tmp_path, CATALOG.replace("template: cart.yaml, ", "")), placements)
    assert (finding.health, finding.check) == (Health.NOTE, "template shop/cart")
    assert "names none in production, staging, so a changed cart.yaml is no new version" in finding.what
