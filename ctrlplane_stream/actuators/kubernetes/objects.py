"""The vocabulary of what we read and write in a cluster: kinds, and the labels and annotations that are ours."""

from enum import Enum
from typing import Any

Manifest = dict[str, Any]
"""An object as the API has it: JSON."""

MANAGER = "ctrlplane-stream"
"""Our field manager, and the value of ``app.kubernetes.io/managed-by`` on everything that we own."""

PREFIX = "ctrlplane-stream.dev/"
MANAGED_BY = "app.kubernetes.io/managed-by"
SERVICE = f"{PREFIX}service"
"""Label: the slug of the target's service."""
VERSION = f"{PREFIX}version"
"""Label: the slug of the version (``v3``)."""
ROLE = f"{PREFIX}role"
"""Label of Deployments, CronJobs and Pods: ``serving`` takes traffic or work, ``standby`` proves that the version starts."""

TARGET = f"{PREFIX}target"
"""Annotation: environment and service as the engine writes them."""
LABEL = f"{PREFIX}label"
"""Annotation: the version label as telemetry carries it (``#3``)."""
STAMP = f"{PREFIX}stamp"
"""Annotation: the resourceVersion of the memory by which the object was last brought in line: the fence against stale writers."""
REPLICAS = f"{PREFIX}replicas"
"""Annotation: the replicas that we set, written in the same patch, so that another number is somebody else's. Of a CronJob 0 is suspended,
and 1 is not."""
RUNS = f"{PREFIX}runs"
"""Annotation of a CronJob: which of its runs were counted, and how they ended (see ``runs``)."""
DIGEST = f"{PREFIX}digest"
"""Annotation: the digest of the version's artifact."""
FLOOR = f"{PREFIX}floor"
"""Annotation of an autoscaler: the minReplicas that we set, so that another number is somebody else's."""
AUTOSCALED = f"{PREFIX}autoscaled"
"""Annotation: replicas above 0 are somebody else's business where weights go by a route (an autoscaler's, or the owner's of an adopted
Deployment)."""
OWNS = f"{PREFIX}owns"
"""Annotation of a version's Deployment or CronJob: what was made for it besides its Service, as ``Kind name, …``, so that it is missed."""

ADOPTED_AT = f"{PREFIX}adopted-at"
"""Annotation of an adopted Deployment: its ``REVISION`` when it was, so that another is a rollout of its owner's."""
REVISION = "deployment.kubernetes.io/revision"
"""Annotation of Deployments and ReplicaSets, by the cluster: which Pod template is meant."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""Annotation by ``kubectl apply``: what somebody applied last, of the object that has it."""

NOBODY_ELSES = {
    "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
}
"""Annotations of a version's Deployment or CronJob, which has its template's labels. Where Argo CD knows by one of these labels what an
Application's is, it is not to take the version for a leftover, at a sync or when the Application goes. What the version owns has an owner,
and is left alone for that."""


class Kind(Enum):
    """The kinds that we touch: API group and version, plural, and the name in manifests."""

    CONFIG_MAP = ("v1", "configmaps", "ConfigMap")
    SERVICE = ("v1", "services", "Service")
    POD = ("v1", "pods", "Pod")
    DEPLOYMENT = ("apps/v1", "deployments", "Deployment")
    REPLICA_SET = ("apps/v1", "replicasets", "ReplicaSet")
    CRON_JOB = ("batch/v1", "cronjobs", "CronJob")
    JOB = ("batch/v1", "jobs", "Job")
    AUTOSCALER = ("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
    DISRUPTION_BUDGET = ("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget")
    HTTP_ROUTE = ("gateway.networking.k8s.io/v1", "httproutes", "HTTPRoute")
    GRPC_ROUTE = ("gateway.networking.k8s.io/v1", "grpcroutes", "GRPCRoute")

    @property
    def api_version(self) -> str:
        """``apiVersion`` of manifests."""
        return self.value[0]

    @property
    def manifest_kind(self) -> str:
        """``kind`` of manifests."""
        return self.value[2]

    def path(self, namespace: str, name: str = "") -> str:
        """The path of the collection in a namespace (empty: in all of them), or of one object."""
        version, plural, _ = self.value
        root = "/api" if "/" not in version else "/apis"
        path = f"{root}/{version}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{version}/{plural}"
        return f"{path}/{name}" if name else path


def kind_of(manifest: Manifest) -> Kind | None:
    """The kind of a manifest, or None where it is none that we touch."""
    return next((kind for kind in Kind if kind.manifest_kind == manifest.get("kind")), None)


def name_of(manifest: Manifest) -> str:
    """``metadata.name``."""
    return str(manifest["metadata"]["name"])


def revision_of(manifest: Manifest) -> str:
    """``metadata.resourceVersion``."""
    return str(manifest["metadata"]["resourceVersion"])


def label(manifest: Manifest, key: str) -> str | None:
    """A label, or None where it is not set."""
    found = (manifest["metadata"].get("labels") or {}).get(key)
    return None if found is None else str(found)


def annotation(manifest: Manifest, key: str) -> str | None:
    """An annotation, or None where it is not set."""
    found = (manifest["metadata"].get("annotations") or {}).get(key)
    return None if found is None else str(found)
