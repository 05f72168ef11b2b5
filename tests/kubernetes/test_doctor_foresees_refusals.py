"""What a command would be refused for, doctor says before there is one."""

import asyncio
import re

import pytest
import yaml

from ctrlplane_stream.commands.checkup_kubernetes import check_kubernetes
from ctrlplane_stream.local.control_plane.scene import route, running, template
from ctrlplane_stream.settings import Settings

SCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "cart"},
    "spec": {"maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart"}},
}
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart"}}
ROUTED, SHARED = {"port": 80, "route": {"name": "shop-cart", "rule": "main"}}, {"service": "cart"}


@pytest.mark.parametrize(
    ("way", "more", "there", "said"),
    [
        (ROUTED, [], [route("shop-cart", ["main", "main"])], "more than one rule named main.*; give each a name of its own"),
        (ROUTED, [SCALER], [route("shop-cart", ["main"]), running(), SCALER], "counts the Pods of every version too.*; delete it"),
        (SHARED, [], [SERVICE | {"spec": {"selector": {"app": "other"}, "ports": [{"port": 80}]}}], "by app=other.*; add it to"),
    ],
)
def test_doctor_says_what_a_release_would_be_refused_for(lab, tmp_path, way, more, there, said):
    namespace = lab.namespace()
    (tmp_path / "cart.yaml").write_text(yaml.safe_dump_all([*template(), *more]))
    path = tmp_path / "placement.yaml"
    services = {"shop/cart": {"template": "cart.yaml", **way}}
    path.write_text(yaml.safe_dump({"environments": {"staging": {"namespace": namespace}}, "services": services}))

    def doctor() -> str:
        found = asyncio.run(check_kubernetes(Settings(kubernetes_placement=str(path)), lambda _: lab.product()))
        return next(finding.line() for finding in found if finding.check == "kubernetes staging:shop/cart")

    good = route("shop-cart", ["main"]), SERVICE | {"spec": {"selector": {"app": "cart"}, "ports": [{"port": 80}]}}
    lab.apply(list(good), namespace)
    assert doctor().startswith("ok ")
    lab.apply(there, namespace)
    line = doctor()
    assert line.startswith("wrong ")
    assert re.search(said, line), line
