"""Where one target lives, and the rule that steers its traffic."""

import msgspec

from ctrlplane_stream.actuators.kubernetes.objects import Kind, Manifest


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named rule of a Gateway API route; its ``backendRefs`` become ours, everything else of it stays its owner's."""

    name: str
    rule: str
    kind: str = "HTTPRoute"

    @property
    def api(self) -> Kind:
        """The kind as the API has it."""
        return Kind.GRPC_ROUTE if self.kind == "GRPCRoute" else Kind.HTTP_ROUTE


class Source(msgspec.Struct, frozen=True):
    """What a version is made from besides image and configuration: the digest of its template, and what the placement said beside that."""

    digest: str
    container: str | None = None
    port: int | None = None


class Place(msgspec.Struct, frozen=True):
    """Where one target lives. ``template`` are the manifests that a version is made from, and ``named`` is that by name and digest.

    Exactly one way for weights: ``route``, or replicas (behind ``service`` where there is one; consumers have none), or runs of a CronJob.
    ``adopt`` names a running Deployment that becomes the first version by ADOPT. ``full`` Pods carry all the traffic.
    """

    namespace: str
    slug: str
    template: tuple[Manifest, ...] = ()
    full: int | None = None
    context: str | None = None
    route: Route | None = None
    service: str | None = None
    port: int | None = None
    container: str | None = None
    adopt: str | None = None
    named: str | None = None

    @property
    def workload(self) -> Kind:
        """What a version is made as: a Deployment, or of a job a CronJob."""
        return Kind.CRON_JOB if any(manifest.get("kind") == "CronJob" for manifest in self.template) else Kind.DEPLOYMENT

    def brings(self, kind: Kind) -> bool:
        """Whether the template has one of that kind, and so each version gets one of its own."""
        return any(manifest.get("kind") == kind.manifest_kind for manifest in self.template)

    @property
    def autoscaler(self) -> Manifest | None:
        """The template's autoscaler, which every version gets a clone of, or None."""
        return next((manifest for manifest in self.template if manifest.get("kind") == "HorizontalPodAutoscaler"), None)
