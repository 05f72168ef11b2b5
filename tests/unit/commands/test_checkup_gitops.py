"""``doctor`` on the examples as real repositories: in order as they are shipped, wrong with the remedy where they are broken."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ctrlplane_stream.actuators.gitops.actuator import GitOps
from ctrlplane_stream.actuators.gitops.guarding import Safety, guard
from ctrlplane_stream.actuators.gitops.owned import Document, Owned
from ctrlplane_stream.actuators.gitops.placement import read_git_placements
from ctrlplane_stream.commands.checkup_gitops import check_gitops
from ctrlplane_stream.commands.findings import Finding, Health
from ctrlplane_stream.model.commands import Command, Verb
from ctrlplane_stream.model.facts import OutcomeStatus
from ctrlplane_stream.model.identity import Artifact, ServiceKind, Target
from ctrlplane_stream.model.world import Capacity, Cursor, TargetWanted, WantedVersion
from ctrlplane_stream.settings import Settings
from tests.contract.actuators.git_repositories import Bare, git

EXAMPLES = Path(__file__).parents[3] / "examples/gitops"
AGENTS = ("argo-cd", "flux")
Files = dict[str, str]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Finding]]:
    """Doctor's findings on an example, as it is or after a change of its files."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "no-such-kubeconfig"))

    def checked(agent: str, *changes: tuple[str, str, str]) -> list[Finding]:
        root = EXAMPLES / agent
        files = {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.yaml")}
        for file, old, new in changes:
            assert old in files[file], "the example is not as this test knows it"
            files[file] = files[file].replace(old, new)
        bare = Bare(tmp_path / "repository", files)
        for name in ("kubernetes.yaml", "cart.yaml"):
            (tmp_path / name).write_text((EXAMPLES / name).read_text())
        placement = (EXAMPLES / "gitops.yaml").read_text()
        assert "https://git.example/acme/shop-config.git" in placement
        (tmp_path / "gitops.yaml").write_text(placement.replace("https://git.example/acme/shop-config.git", f"file://{bare.path}"))
        settings = Settings(gitops_placement=str(tmp_path / "gitops.yaml"), kubernetes_placement=str(tmp_path / "kubernetes.yaml"))
        return asyncio.run(check_gitops(settings))

    return checked


@pytest.mark.parametrize("agent", AGENTS)
def test_an_example_as_shipped_is_in_order(check, agent: str) -> None:
    """Repository, both targets, and the agent that leaves the route alone."""
    found = check(agent)
    assert [finding.health for finding in found] == [Health.OK] * 4, "\n".join(f.line() for f in found)
    guarded = [f.what for f in found if f.check == "gitops production:shop/cart" and "alone" in f.what]
    assert guarded == [
        {
            "argo-cd": "Argo CD Application shop-production leaves the backendRefs of rule cart of HTTPRoute shop/shop alone",
            "flux": "Flux Kustomization shop-production leaves the backendRefs of rule cart of HTTPRoute shop/shop alone",
        }[agent]
    ]


@pytest.mark.parametrize("agent", AGENTS)
def test_the_fields_of_an_example_are_written_and_nothing_else_of_it(check, tmp_path: Path, agent: str) -> None:
    """Three lines in two files; a label with # in it is quoted."""
    check(agent)
    bare, placements = tmp_path / "repository/origin.git", read_git_placements(tmp_path / "gitops.yaml")
    actuator = GitOps(placements.place, tmp_path / "clones")
    for environment in ("staging", "production"):
        target = Target(environment, "shop/cart")
        one = WantedVersion("#1", Artifact("shop/cart", "registry.example/shop/cart", f"sha256:{1:064x}"), {}, Capacity.FULL, 100)
        command = Command(environment, Verb.SHIFT, target, 1, TargetWanted(target, ServiceKind.ROUTED, (one,), "#1"), "the first")
        assert asyncio.run(actuator.apply(command, Cursor(1, 1))).status is OutcomeStatus.APPLIED
    changed = [line for line in git(bare, "diff", "-U0", "main~2", "main").splitlines() if line.startswith("+") and line[1] != "+"]
    assert changed == [
        f"+  cart: registry.example/shop/cart@sha256:{1:064x}",
        f'+  cart.all: "#1=sha256:{1:064x}"',
        f"+    digest: sha256:{1:064x}  # written by the release engine",
    ]


@pytest.mark.parametrize(
    ("agent", "change", "what", "remedy"),
    [
        (
            "argo-cd",
            ("apps/production.yaml", "name: shop\n      jq", "name: other\n      jq"),
            "would put back",
            "ignoreDifferences: [{group: gateway",
        ),
        ("argo-cd", ("apps/production.yaml", ".backendRefs'", ".backendRefs[].weight'"), "would put back", "jqPathExpressions"),
        ("argo-cd", ("apps/production.yaml", '"cart"', '"pay"'), "would put back", "jqPathExpressions"),
        (
            "argo-cd",
            ("apps/production.yaml", "RespectIgnoreDifferences=true", "ApplyOutOfSyncOnly=true"),
            "at every sync",
            "RespectIgnoreDifferences=true",
        ),
        (
            "flux",
            ("production/route.yaml", "kustomize.toolkit.fluxcd.io/ssa: IfNotPresent", "team: shop"),
            "would put back",
            "ssa: IfNotPresent",
        ),
        ("flux", ("production/route.yaml", "IfNotPresent", "Merge"), "ssa: Merge does not help", "ssa: IfNotPresent"),
        ("flux", ("staging/kustomization.yaml", "digest: sha256:", "newTag: v"), "digest is absent", "refused until then"),
        (
            "flux",
            ("staging/kustomization.yaml", "written by", '{"$imagepolicy": "shop:cart:digest"} by'),
            "image automation writes",
            "take the $imagepolicy",
        ),
    ],
)
def test_a_broken_copy_is_wrong_and_told_the_remedy(check, agent: str, change: tuple[str, str, str], what: str, remedy: str) -> None:
    bad = [finding for finding in check(agent, change) if finding.health is Health.WRONG]
    assert len(bad) == 1, bad
    assert what in bad[0].what
    assert remedy in bad[0].remedy


def test_a_repository_that_cannot_be_reached_and_a_file_that_cannot_be_read_are_findings(tmp_path: Path) -> None:
    file = tmp_path / "gitops.yaml"
    for text, what in (
        ("repositories: {}\nenvironments: {p: {repository: x}}\nservices: {}\n", "names the repository x, which is not listed"),
        (
            (
                f"repositories: {{x: {{url: {tmp_path}/nowhere.git}}}}\nenvironments: {{p: {{repository: x}}}}\n"
                "services: {s: {fields: [{file: a.yaml, value: a}]}}\n"
            ),
            "nowhere.git cannot be reached",
        ),
    ):
        file.write_text(text)
        (finding,) = asyncio.run(check_gitops(Settings(gitops_placement=str(file))))
        assert (finding.health, what in finding.what) == (Health.WRONG, True), finding


ROUTE = Owned("gateway.networking.k8s.io", "HTTPRoute", "shop", "shop", "cart")
REPLICAS = Owned("apps", "Deployment", "shop", "cart")
FLUX = """
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: shop, namespace: flux-system}
spec: {path: ./, ignore: RULES}
"""
MARKED = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: shop, annotations: {argocd.argoproj.io/tracking-id: "shop:gateway.networking.k8s.io/HTTPRoute:shop/shop"}}
spec: {rules: [{name: pay}, {name: cart}]}
"""
APPLICATION = """
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: NAME, namespace: argocd}
spec:
  ignoreDifferences: [{group: gateway.networking.k8s.io, kind: HTTPRoute, jsonPointers: [POINTER]}]
  syncPolicy: {syncOptions: [RespectIgnoreDifferences=true]}
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec: SPEC
"""


def _documents(*texts: str, file: str = "") -> list[Document]:
    return [Document(file, yaml.safe_load(text)) for text in texts]


@pytest.mark.parametrize(
    ("rules", "safety"),
    [
        ("[{paths: [/spec/rules], target: {kind: HTTPRoute, name: shop}}]", Safety.SAFE),
        ("[{paths: [/spec/rules]}]", Safety.SAFE),
        ('[{paths: [/spec/rules], target: {kind: ".*Route", namespace: shop}}]', Safety.SAFE),
        ("[{paths: [/spec/rules], target: {labelSelector: a=b}}]", Safety.UNSAFE),
        ("[{paths: [/spec/rules], target: {kind: '('}}]", Safety.UNSAFE),
        ("[{paths: [/spec/rules], target: {kind: HTTPRoute, name: other}}]", Safety.UNSAFE),
        ("[{paths: [/spec/hostnames]}]", Safety.UNSAFE),
        ("[]", Safety.UNSAFE),
    ],
)
def test_rules_of_a_kustomization_count_where_they_hide_the_whole_part(rules: str, safety: Safety) -> None:
    (said,) = guard(ROUTE, _documents(FLUX.replace("RULES", rules), MARKED, file="route.yaml"))
    assert said.safety is safety


@pytest.mark.parametrize(("pointer", "safety"), [("/spec/rules/1/backendRefs", Safety.SAFE), ("/spec/rules/0/backendRefs", Safety.UNSAFE)])
def test_in_a_cluster_the_application_that_tracks_the_route_counts_and_no_other(pointer: str, safety: Safety) -> None:
    """A pointer names a rule by its place, so it must be the place of ours."""
    own, other = APPLICATION.replace("NAME", "shop").replace("POINTER", pointer), APPLICATION.replace("NAME", "other")
    (said,) = guard(ROUTE, _documents(own, other, MARKED), live=True)
    assert said.safety is safety


def test_a_route_that_nothing_tracks_is_safe_in_a_cluster_and_unknown_from_a_repository() -> None:
    route = MARKED.replace("argocd.argoproj.io/tracking-id", "other")
    assert [said.safety for said in guard(ROUTE, _documents(route, APPLICATION), live=True)] == [Safety.SAFE]
    assert [said.safety for said in guard(ROUTE, _documents(route))] == [Safety.UNKNOWN]
    assert [said.safety for said in guard(ROUTE, [])] == [Safety.UNKNOWN]


FLUX_MARKS = {f"kustomize.toolkit.fluxcd.io/{key}": value for key, value in (("name", "shop"), ("namespace", "flux-system"))}
HELM_MARKS = {key.replace("kustomize", "helm"): value for key, value in FLUX_MARKS.items()}
BY_ARGO = {"managedFields": [{"manager": "argocd-controller", "operation": "Update"}]}


@pytest.mark.parametrize(
    ("marks", "more", "safety", "what"),
    [
        (
            {"argocd.argoproj.io/tracking-id": "hub_shop:a/HTTPRoute:shop/shop"},
            {},
            Safety.UNKNOWN,
            "Argo CD Application hub_shop would put",
        ),
        ({"app.kubernetes.io/instance": "shop"}, BY_ARGO, Safety.UNKNOWN, "Argo CD Application shop would put back"),
        ({"app.kubernetes.io/instance": "shop"}, {}, Safety.SAFE, "nothing syncs"),
        (FLUX_MARKS, {}, Safety.UNKNOWN, "Flux Kustomization shop would put back"),
        (FLUX_MARKS | {"kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent"}, {}, Safety.SAFE, "Flux Kustomization shop leaves"),
        (HELM_MARKS, {}, Safety.UNKNOWN, "Flux HelmRelease shop would put back"),
    ],
)
@pytest.mark.parametrize(
    "others", [[], [APPLICATION.replace("NAME", "other"), FLUX.replace("name: shop", "name: other")]], ids=["", "others"]
)
def test_an_agent_that_lives_in_another_cluster_is_known_by_its_mark(marks, more, safety: Safety, what: str, others) -> None:
    """One that syncs several clusters from one for itself: what it leaves alone cannot be read here, so what it must be told is said."""
    (route,) = _documents(MARKED)
    route.manifest["metadata"] = {"name": "shop", "namespace": "shop", "annotations": marks, **more}
    (said,) = guard(ROUTE, [route, *_documents(*others)], live=True)
    assert said.safety is safety
    assert said.what.startswith(what)
    assert bool(said.remedy) == ("not in this cluster" in said.what) == (safety is Safety.UNKNOWN)


@pytest.mark.parametrize(("spec", "safety"), [("{replicas: 2}", Safety.UNSAFE), ("{paused: false}", Safety.SAFE)])
def test_flux_spares_replicas_that_the_repository_does_not_set(spec: str, safety: Safety) -> None:
    (said,) = guard(REPLICAS, _documents(FLUX.replace("RULES", "[]"), DEPLOYMENT.replace("SPEC", spec), file="cart.yaml"))
    assert said.safety is safety


TRACKED = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: cart
  namespace: shop
  annotations: {argocd.argoproj.io/tracking-id: "shop:apps/Deployment:shop/cart", APPLIED}
  managedFields: [{manager: argocd-controller, operation: HOW, fieldsV1: {f:spec: {f:FIELD: {}}}}]
spec: {replicas: 2}
"""


@pytest.mark.parametrize(
    ("applied", "how", "field", "safety"),
    [
        ("""kubectl.kubernetes.io/last-applied-configuration: '{"spec": {"replicas": 2}}'""", "Update", "replicas", Safety.UNSAFE),
        ("""kubectl.kubernetes.io/last-applied-configuration: '{"spec": {}}'""", "Update", "replicas", Safety.SAFE),
        ("""kubectl.kubernetes.io/last-applied-configuration: '[]'""", "Update", "replicas", Safety.UNSAFE),
        ("a: b", "Apply", "replicas", Safety.UNSAFE),
        ("a: b", "Apply", "template", Safety.SAFE),
        ("a: b", "Update", "replicas", Safety.UNSAFE),
    ],
    ids=["applied with", "applied without", "unreadable", "by the server with", "by the server without", "unknown"],
)
def test_argo_cd_spares_replicas_that_it_did_not_apply(applied: str, how: str, field: str, safety: Safety) -> None:
    """The server's default counts as set by whoever made the object, so that alone says nothing."""
    live = TRACKED.replace("APPLIED", applied).replace("HOW", how).replace("FIELD", field)
    (said,) = guard(REPLICAS, _documents(APPLICATION.replace("NAME", "shop"), live), live=True)
    assert said.safety is safety


@pytest.mark.parametrize(("by", "safety"), [("kustomize-controller", Safety.UNSAFE), ("ctrlplane-stream", Safety.SAFE)])
def test_of_a_deployment_in_a_cluster_it_counts_who_set_the_replicas_that_it_always_has(by: str, safety: Safety) -> None:
    flux, deployment = _documents(FLUX.replace("RULES", "[]"), DEPLOYMENT.replace("SPEC", "{replicas: 2}"))
    deployment.manifest["metadata"] |= {
        "labels": {f"kustomize.toolkit.fluxcd.io/{key}": value for key, value in (("name", "shop"), ("namespace", "flux-system"))},
        "managedFields": [{"manager": by, "fieldsV1": {"f:spec": {"f:replicas": {}}}}],
    }
    (said,) = guard(REPLICAS, [flux, deployment], live=True)
    assert said.safety is safety
