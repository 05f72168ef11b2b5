"""What the documents tell people to type with kubectl, typed: every line runs on a real API server, as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ctrlplane_stream.actuators.kubernetes.installation import NAMESPACE
from ctrlplane_stream.local.control_plane.scene import route, template

_ROOT = Path(__file__).parents[2]
_DOCUMENTS = ("operations.md", "actuators.md")
_PLACEMENT = """\
environments: {production: {namespace: shop}}
services:
  shop/cart: {template: cart.yaml, route: {name: shop, rule: cart}}
"""


def lines_of(document: str) -> list[str]:
    """The commands in a document's code blocks that use kubectl, each with the lines that its quotes go on over."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", (_ROOT / "docs" / document).read_text(), re.MULTILINE | re.DOTALL)
    commands: list[str] = []
    for line in "".join(blocks).splitlines():
        if commands and commands[-1].count("'") % 2:
            commands[-1] += "\n" + line
        elif not line.startswith("#"):
            commands.append(line)
    return [command for command in commands if re.search(r"(^|\| )kubectl ", command)]


LINES = [line for document in _DOCUMENTS for line in lines_of(document)]


@pytest.fixture
def type_in(lab, tmp_path):
    """Types a line into a shell: kubectl and our program are there, the placement file too, and the checkout's ``deploy/``.

    What a line applied is deleted in the end: the cluster is everybody's, and its fields would be kubectl's.
    """
    shop = route("shop", ["cart"])
    backends = [{"name": f"shop-cart-v{number}", "port": 80, "weight": weight} for number, weight in ((1, 75), (2, 25))]
    shop["spec"]["rules"][0]["backendRefs"] = backends
    lab.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("shop", NAMESPACE)])
    lab.apply([shop], "shop")
    (tmp_path / "placement.yaml").write_text(_PLACEMENT)
    (tmp_path / "cart.yaml").write_text(yaml.safe_dump_all(template()))
    (tmp_path / "deploy").symlink_to(_ROOT / "deploy")
    path = f"{lab.plane.programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "KUBECONFIG": str(lab.plane.kubeconfig(lab.plane.admin_token, "admin"))}

    def type_line(line: str) -> "subprocess.CompletedProcess[str]":
        command = ["bash", "-o", "pipefail", "-c", line]
        return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120, check=False)

    yield type_line
    applied = [line for line in LINES if " apply -k " in line]
    for line in reversed(applied):
        undone = type_line(line.replace(" apply ", " delete --ignore-not-found "))
        assert undone.returncode == 0, undone.stderr


def test_every_kubectl_line_of_the_documents_works(lab, type_in):
    """Weights are where they were wanted, both bases are applied, and what was installed is gone again."""
    assert len(LINES) == 6, LINES
    installing = "ctrlplane-stream install --image r/c:1 --kafka-bootstrap-servers kafka:9092 --kubernetes-placement placement.yaml"
    looking = "kubectl -n shop get httproute shop -o jsonpath='{range .spec.rules[0].backendRefs[*]}{.name} {.weight} {end}'"
    patched = []
    for line in LINES:
        first = type_in(installing) if "delete" in line else None
        assert first is None or first.returncode == 0, first.stderr
        done = type_in(line)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        if " patch " in line:
            patched.append(type_in(looking).stdout.split())
    assert patched == [["shop-cart-v1", "100", "shop-cart-v2", "0"], ["shop-cart-v1", "100"]]


def test_a_patch_of_another_order_than_was_seen_is_refused(type_in):
    """Nobody gives the candidate all of the traffic because its backend stood first."""
    (patch,) = (line for line in LINES if "backendRefs/0/name" in line)
    refused = type_in(patch.replace("cart-v1", "cart-v9"))
    assert refused.returncode != 0
    assert "the server rejected our request" in refused.stderr or "test" in refused.stderr
