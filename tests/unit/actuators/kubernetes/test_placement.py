"""The placement file: what it says, and what is wrong with it in words."""

import hashlib

import pytest

from ctrlplane_stream.actuators.kubernetes.objects import Kind
from ctrlplane_stream.actuators.kubernetes.placement import PlacementError, read_placements
from ctrlplane_stream.model.identity import Target

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart}
spec: {replicas: 3, template: {spec: {containers: [{name: cart, image: replaced}]}}}
"""

GOOD = """\
environments:
  staging: {namespace: shop-staging}
  production: {namespace: shop, context: eu}
services:
  shop/cart:
    template: cart.yaml
    route: {name: shop, rule: cart}
    environments: {staging: {replicas: 1}}
"""


def written(folder, text, template=DEPLOYMENT):
    """A placement file with its template beside it."""
    (folder / "cart.yaml").write_text(template)
    path = folder / "placement.yaml"
    path.write_text(text)
    return path


def test_a_target_has_the_place_of_its_environment_and_service(tmp_path):
    """Overrides of an environment win; what is not named has no place."""
    placements = read_placements(written(tmp_path, GOOD))
    staging = placements.place(Target("staging", "shop/cart"))
    production = placements.place(Target("production", "shop/cart"))
    assert (staging.namespace, staging.full, staging.context, staging.slug) == ("shop-staging", 1, None, "shop-cart")
    assert (production.namespace, production.full, production.context) == ("shop", None, "eu")
    assert placements.place(Target("staging", "shop/other")) is None
    assert placements.place(Target("moon", "shop/cart")) is None
    assert placements.namespaces() == ((None, "shop-staging"), ("eu", "shop"))
    assert placements.kinds() == {Kind.HTTP_ROUTE}


def test_a_template_is_called_by_the_digest_of_its_file_as_sha256sum_prints_it(tmp_path):
    place = read_placements(written(tmp_path, GOOD)).place(Target("staging", "shop/cart"))
    assert place.named == f"cart.yaml@sha256:{hashlib.sha256(DEPLOYMENT.encode()).hexdigest()}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("replicas: 1", "replica: 1", "replica"),
        ("staging: {replicas", "moon: {replicas", "moon"),
        ("rule: cart}", "rule: cart}\n    service: cart", "route and service"),
        ("services:", "services:\n  shop-cart: {template: cart.yaml}", "share the name shop-cart"),
        (
            "    template: cart.yaml",
            "    name: Shop_Cart\n    template: cart.yaml",
            "`name` Shop_Cart cannot be a part of names.*at most 40",
        ),
        ("    template: cart.yaml", f"    name: {'c' * 41}\n    template: cart.yaml", "cannot be a part of names"),
        ("    template: cart.yaml", "    container: crat\n    template: cart.yaml", "container crat.*has cart"),
        ("template: cart.yaml", "template: absent.yaml", "absent.yaml: No such file or directory; a `template` is a file"),
        ("shop-staging}", "Shop_1}", "environment staging: no namespace can be called Shop_1"),
        ("shop-staging}", f"{'n' * 64}}}", "no namespace can be called n*: .*at most 63"),
        ("replicas: 1", "replicas: 0", "staging:shop/cart: `replicas` is 0: .* at least 1"),
        ("replicas: 1", "replicas: -3", "`replicas` is -3"),
        ("replicas: 1", "port: 70000", "`port` is 70000: ports are 1 to 65535"),
        ("name: shop,", "name: Shop,", "`name` of its `route` Shop can be the name of no object"),
        ("rule: cart}", "rule: a_b}", "`rule` a_b can be the name of no object"),
        ("rule: cart}", "rule: cart, kind: TCPRoute}", "`kind` of its route is TCPRoute: weights go by one of HTTPRoute, GRPCRoute"),
        ("    route: {name: shop, rule: cart}", "    service: a.b", "`service` a.b can be"),
        ("    template: cart.yaml", "    adopt: -cart\n    template: cart.yaml", "`adopt` -cart can be"),
        ("environments:\n  staging", "environments: [\n  staging", "placement.yaml"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, old, new, said):
    """Every mistake is refused when the file is read, and named."""
    with pytest.raises(PlacementError, match=said):
        read_placements(written(tmp_path, GOOD.replace(old, new, 1)))


SERVED = """\
---
apiVersion: v1
kind: Service
metadata: {name: cart}
spec: {ports: [{port: 8081, targetPort: %s}]}
"""


@pytest.mark.parametrize(
    ("port", "leads", "said"),
    [
        ("port: 80", "8080", "the Service in its template has no port 80 but 8081: correct `port`, or leave it out"),
        ("port: 8081", "http", "leads to the port http, which no container of it has"),
    ],
)
def test_a_service_that_would_answer_nobody_by_the_route_is_refused(tmp_path, port, leads, said):
    """It would have all the traffic and ready Pods, and no port, or no Pod behind it."""
    text = GOOD.replace("    route:", f"    {port}\n    route:")
    with pytest.raises(PlacementError, match=said):
        read_placements(written(tmp_path, text, DEPLOYMENT + SERVED % leads))
    read_placements(written(tmp_path, GOOD.replace("    route:", "    port: 8081\n    route:"), DEPLOYMENT + SERVED % 8080))


SHARED = """\
environments:
  staging: {namespace: shop}
  production: {namespace: shop}
services:
  shop/cart:
    template: cart.yaml
    environments: {staging: {name: cart-staging}, production: {name: cart}}
"""


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("route: {name: shop, rule: cart}", "would both steer the rule cart of HTTPRoute shop"),
        ("service: cart", "would both share the Pods behind Service cart"),
        ("adopt: cart", "would both adopt Deployment cart"),
    ],
)
def test_what_two_targets_would_take_from_each_other_is_refused(tmp_path, way, said):
    """Two environments in one namespace have names of their own; the rule, Service or Deployment that both inherit is one."""
    with pytest.raises(PlacementError, match=f"production:shop/cart and staging:shop/cart {said} in shop"):
        read_placements(written(tmp_path, SHARED.replace("template: cart.yaml", f"template: cart.yaml\n    {way}")))
    apart = SHARED.replace("template: cart.yaml", f"template: cart.yaml\n    {way}").replace(
        "staging: {namespace: shop}", "staging: {namespace: other}"
    )
    assert len(read_placements(written(tmp_path, apart)).all()) == 2


def test_a_file_that_is_not_there_or_empty_is_said_with_the_setting_or_the_field_that_is_missing(tmp_path):
    """And not by the number of an error."""
    with pytest.raises(PlacementError, match="No such file or directory; CTRLPLANE_KUBERNETES_PLACEMENT must name a file"):
        read_placements(tmp_path / "absent.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(PlacementError, match="missing required field `environments`"):
        read_placements(tmp_path / "empty.yaml")


JOB = """\
apiVersion: batch/v1
kind: CronJob
metadata: {name: report}
spec: {schedule: "0 3 * * *", jobTemplate: {spec: {template: {spec: {containers: [{name: report, image: replaced}]}}}}}
"""


def test_a_job_is_placed_by_its_template_and_its_runs_are_looked_at(tmp_path):
    placements = read_placements(written(tmp_path, GOOD.replace("    route: {name: shop, rule: cart}\n", ""), JOB))
    assert placements.place(Target("production", "shop/cart")).workload is Kind.CRON_JOB
    assert placements.kinds() == {Kind.CRON_JOB, Kind.JOB}
    assert read_placements(written(tmp_path, GOOD)).place(Target("production", "shop/cart")).workload is Kind.DEPLOYMENT


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (DEPLOYMENT + "---\n" + JOB, "one Deployment, or for a job one CronJob, and has 1 and 1"),
        (JOB + "---\n" + JOB, "and has 0 and 2"),
        (JOB + "---\nkind: Service\nmetadata: {name: s}\n", "Service cannot be made per version of a job"),
        (JOB.replace("jobTemplate: {spec: {", "jobTemplate: {spec: {ttlSecondsAfterFinished: 60, "), "leave ttlSecondsAfterFinished out"),
        (JOB.replace("schedule", "successfulJobsHistoryLimit: 0, schedule"), "must be 1 or more"),
        ("kind: Service\nmetadata: {name: cart}\n", "exactly one Deployment"),
        (DEPLOYMENT + "---\nkind: Secret\nmetadata: {name: s}\n", "Secret cannot be made per version"),
        (DEPLOYMENT + "---\nkind: ConfigMap\n", "metadata.name"),
        (DEPLOYMENT + "---\n[1]\n", "must be an object"),
        (
            DEPLOYMENT.replace("name: cart, image: replaced", "name: proxy}, {name: main"),
            "has the containers proxy, main, of which none is named cart",
        ),
        (
            DEPLOYMENT + "---\napiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: c}\n",
            "autoscaling/v1.*autoscaling/v2",
        ),
        (DEPLOYMENT + "---\nkind: ConfigMap\nmetadata: {name: configuration}\n", "call the ConfigMap configuration otherwise"),
        (DEPLOYMENT + "---\nkind: ConfigMap\nmetadata: {name: a}\n" * 2, "ConfigMap a is there twice"),
        (
            DEPLOYMENT.replace("image: replaced", "image: replaced, env: [{name: CTRLPLANE_POD}]"),
            "is that of a version of ours.*write it as it was before us",
        ),
    ],
)
def test_a_template_that_cannot_be_a_version_is_refused(tmp_path, template, said):
    """Templates are looked at when the file is read, and not in the middle of a rollout."""
    with pytest.raises(PlacementError, match=said):
        read_placements(written(tmp_path, GOOD, template))
