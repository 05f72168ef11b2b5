"""Numbers with their nouns, and who says them."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from ctrlplane_stream.cli import main
from ctrlplane_stream.model.counted import counted
from ctrlplane_stream.model.identity import EdgeKind
from ctrlplane_stream.telemetry.graph_document import EdgeDocument, GraphDocument, Latency, as_text


@pytest.mark.parametrize(("number", "said"), [(0, "0 edges"), (1, "1 edge"), (2, "2 edges")])
def test_one_is_no_plural(number: int, said: str) -> None:
    assert counted(number, "edge") == said


def test_a_plural_may_be_another_than_with_an_s() -> None:
    assert (counted(1, "copy", "copies"), counted(3, "copy", "copies")) == ("1 copy", "3 copies")


def test_the_graph_of_one_edge_says_so() -> None:
    """The last line of what anybody sees first."""
    edge = EdgeDocument("web", "cart", EdgeKind.CALL, 1, 0, (), Latency(None, None, None))
    text = as_text(GraphDocument(1, (edge,), ()))
    assert (text.splitlines()[0].endswith("  1 call"), text.splitlines()[-1]) == (True, "1 span, 1 edge")


def test_a_catalog_of_one_service_says_so(tmp_path: Path) -> None:
    file = tmp_path / "catalog.yaml"
    file.write_text("environments: {lab: {}}\nservices: {cart: {images: [a/b], environments: {lab: {}}}}\n")
    assert "of 1 service in 1 environment\n" in CliRunner().invoke(main, ["catalog", "check", str(file)]).stdout
