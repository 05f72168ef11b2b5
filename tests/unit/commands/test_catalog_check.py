"""What `catalog check` says of a file that is right."""

from pathlib import Path

from click.testing import CliRunner

from ctrlplane_stream.cli import main

CHAIN = """\
environments:
  staging: {}
  qa: {promote_from: staging}
  production: {promote_from: qa}
services:
  shop/cart: {images: [r/cart], environments: {staging: {}, qa: {}, production: {}}}
  shop/mail: {images: [r/mail], environments: {staging: {}, production: {}}}
"""


def test_a_service_that_passes_an_environment_over_is_told(tmp_path: Path) -> None:
    file = tmp_path / "catalog.yaml"
    file.write_text(CHAIN)
    checked = CliRunner().invoke(main, ["catalog", "check", str(file)])
    assert checked.exit_code == 0
    assert checked.stderr == "note: shop/mail comes to production once it has baked in staging, since qa does not run it\n"
