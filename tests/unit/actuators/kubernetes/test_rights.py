"""What the worker may do in a namespace: exactly this, each for a reason."""

import pytest
import yaml

from ctrlplane_stream.actuators.kubernetes.installation import Installation, manifests
from ctrlplane_stream.actuators.kubernetes.placement import read_placements
from ctrlplane_stream.actuators.kubernetes.rights import Right, lacking, needed, rights_of, shipped_role
from ctrlplane_stream.local.control_plane.scene import job_template, template

_MAKING = "a version is made by server-side apply, which asks for both"
REASONS = {
    ("apps", "deployments"): {
        "get": "a name that is taken by somebody else's object is found out before it is touched; what is to be adopted is looked at",
        "list": "all of a target, of its versions that nothing lists any more too",
        "watch": "ready Pods and hands, heard of without asking",
        "create": _MAKING,
        "patch": "replicas and stamps, guarded by what was seen",
        "delete": "a version whose retention is over",
    },
    ("apps", "replicasets"): {"list": "adoption: which Pods are the running version's"},
    ("batch", "cronjobs"): {
        "get": "a name that is taken by somebody else's object is found out before it is touched",
        "list": "all of a job, of its versions that nothing lists any more too",
        "watch": "the same, heard of without asking",
        "create": _MAKING,
        "patch": "whether it is suspended, what was counted and stamps, guarded by what was seen",
        "delete": "a version whose retention is over",
    },
    ("batch", "jobs"): {
        "list": "the runs of a job and how they ended",
        "watch": "the same, heard of without asking",
        "delete": "a run under way whose version is parked",
    },
    ("", "pods"): {"list": "why a version fails, in the cluster's words", "watch": "the same, heard of without asking"},
    ("", "services"): {
        "get": "a taken name; the Service behind which weight goes by shares",
        "list": "a version's Service that somebody took away",
        "watch": "the same, heard of without asking",
        "create": _MAKING,
        "patch": _MAKING,
    },
    ("", "configmaps"): {
        "get": "the target's memory, always the newest",
        "list": "the memories whose leases run out",
        "watch": "the same, heard of without asking",
        "create": "the first memory of a target; a version's configuration",
        "update": "the memory's compare-and-set, which a patch is not",
        "patch": "a version's configuration",
    },
    ("autoscaling", "horizontalpodautoscalers"): {
        "get": "a taken name",
        "list": "the least number of Pods that each version keeps",
        "watch": "the same, heard of without asking",
        "create": _MAKING,
        "patch": "the minimum while weights move",
    },
    ("policy", "poddisruptionbudgets"): {
        "get": "a taken name",
        "list": "a budget of somebody else's that holds for the Pods already; a version's that somebody took away",
        "watch": "the same, heard of without asking",
        "create": _MAKING,
        "patch": _MAKING,
    },
    **{
        ("gateway.networking.k8s.io", routes): {
            "get": "the weights in force, always the newest",
            "list": "the same, heard of without asking: a watch begins with a list",
            "watch": "the same, heard of without asking",
            "patch": "the backends of one named rule",
        }
        for routes in ("httproutes", "grpcroutes")
    },
}
GOLDEN = {Right(group, resource, verb) for (group, resource), verbs in REASONS.items() for verb in verbs}


def surplus(role):
    """What a Role gives beyond the list."""
    return {str(right) for right in set(rights_of(role)) - GOLDEN}


def test_the_role_that_ships_gives_these_rights_and_no_other():
    assert surplus(shipped_role()) == set()
    assert GOLDEN - set(rights_of(shipped_role())) == set()


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}, {"get secrets"}),
        ({"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]}, {"create pods/exec"}),
        ({"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["*"]}, {"* deployments.apps"}),
        ({"apiGroups": ["*"], "resources": ["*"], "verbs": ["get"]}, {"get *.*"}),
        ({"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["list", "delete"]}, {"delete pods", "delete services"}),
    ],
)
def test_a_right_too_many_would_be_noticed(rule, found):
    role = shipped_role()
    role["rules"] = [*role["rules"], rule]
    assert surplus(role) == found


def test_what_is_installed_has_that_role_in_each_namespace_and_none_for_the_cluster():
    """Nothing binds the account to anything else."""
    made = manifests(Installation(namespaces=("shop", "staging")))
    roles = [each for each in made if each["kind"] in ("Role", "ClusterRole")]
    bindings = [each for each in made if each["kind"] in ("RoleBinding", "ClusterRoleBinding")]
    assert [(each["kind"], each["metadata"]["namespace"]) for each in roles] == [("Role", "shop"), ("Role", "staging")]
    assert [each["rules"] for each in roles] == [shipped_role()["rules"]] * 2
    assert [(each["kind"], each["roleRef"]["name"]) for each in bindings] == [("RoleBinding", "ctrlplane-stream")] * 2


def needed_for(folder, made, **more):
    """What a placement file with one service of that template needs."""
    (folder / "cart.yaml").write_text(yaml.safe_dump_all(made))
    path = folder / "placement.yaml"
    service = {"shop/cart": {"template": "cart.yaml", **more}}
    path.write_text(yaml.safe_dump({"environments": {"staging": {"namespace": "shop"}}, "services": service}))
    return needed(read_placements(path))


def test_a_job_needs_rights_on_what_runs_it(tmp_path):
    rights = needed_for(tmp_path, job_template())
    assert {right.resource for right in rights} == {"deployments", "pods", "services", "configmaps", "cronjobs", "jobs"}


def test_only_what_a_placement_makes_use_of_is_missed(tmp_path):
    rights = needed_for(tmp_path, template(), service="cart")
    assert {right.resource for right in rights} == {"deployments", "pods", "services", "configmaps"}
    rules = [{"apiGroups": [""], "resources": ["*"], "verbs": ["*"]}, {"apiGroups": ["apps"], "resources": ["*"], "verbs": ["get", "list"]}]
    assert [str(right) for right in lacking(rules, rights)] == [
        f"{verb} deployments.apps" for verb in ("create", "delete", "patch", "watch")
    ]
    assert lacking([{**rules[1], "resourceNames": ["one"]}, rules[0]], rights)[0] == Right("apps", "deployments", "create")
