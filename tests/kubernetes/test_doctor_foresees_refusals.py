"""What a command would be refused for, and who would put its weights back, doctor says before there is one."""

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
TRACKED = {"argocd.argoproj.io/tracking-id": "shop:gateway.networking.k8s.io/HTTPRoute:shop/shop-cart"}
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


def test_doctor_says_who_puts_weights_back_also_where_nothing_is_rolled_out_by_commits(lab, tmp_path):
    """Argo CD in another cluster, and no file for `gitops`. Who may not ask for Applications says so where the route bears a mark."""
    namespace = lab.namespace()
    (tmp_path / "cart.yaml").write_text(yaml.safe_dump_all(template()))
    path = tmp_path / "placement.yaml"
    services = {"shop/cart": {"template": "cart.yaml", **ROUTED}}
    path.write_text(yaml.safe_dump({"environments": {"staging": {"namespace": namespace}}, "services": services}))

    def doctor(connect) -> list[str]:
        found = asyncio.run(check_kubernetes(Settings(kubernetes_placement=str(path)), lambda _: connect()))
        return [line for line in (finding.line() for finding in found) if "sync" in line or "put back" in line or "leave alone" in line]

    made = route("shop-cart", ["main"])
    lab.apply([made], namespace)
    assert doctor(lab.product) == [f"ok     kubernetes staging:shop/cart: nothing syncs HTTPRoute {namespace}/shop-cart"]
    lab.apply([made | {"metadata": {"name": "shop-cart", "annotations": TRACKED}}], namespace)
    (line,) = doctor(lab.product)
    assert line.startswith(f"note   kubernetes current context/{namespace}: whether Argo CD and Flux leave alone what is ours here")
    (line,) = doctor(lab.admin)
    assert line.startswith("note   kubernetes staging:shop/cart: Argo CD Application shop would put back the backendRefs of rule main")
    assert "add to its spec: ignoreDifferences" in line
