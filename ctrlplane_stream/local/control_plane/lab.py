"""A cluster to try things in: the control plane, a fake kubelet, Gateway API, and namespaces where the product has its least rights."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import yaml

from ctrlplane_stream.actuators.kubernetes.access import Access, token_access
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.applying import apply_manifests
from ctrlplane_stream.actuators.kubernetes.objects import Manifest
from ctrlplane_stream.actuators.kubernetes.rights import Right, lacking, rights_of
from ctrlplane_stream.actuators.kubernetes.transport import HttpTransport, Transport
from ctrlplane_stream.local.control_plane.kubelet import FakeKubelet
from ctrlplane_stream.local.control_plane.plane import ControlPlane
from ctrlplane_stream.shipped import shipped

USER = "ctrlplane"
_HEARD_SECONDS = 30.0
_numbers = itertools.count(1)


class Lab:
    """A running cluster with its fake kubelet. ``product`` is what the actuator gets; ``admin`` is for the tests' own hands."""

    def __init__(self, plane: ControlPlane, kubelet: FakeKubelet | None) -> None:
        self.plane = plane
        self._kubelet = kubelet
        authority = str(plane.certificate_authority)
        self.admin_access: Access = token_access(plane.server, plane.admin_token, authority)
        self.product_access: Access = token_access(plane.server, plane.tokens[USER], authority)

    @property
    def kubelet(self) -> FakeKubelet:
        """What plays the nodes."""
        assert self._kubelet is not None, "this cluster has an API server alone"
        return self._kubelet

    def admin(self) -> Cluster:
        """A client that may do everything."""
        return Cluster(HttpTransport(self.admin_access))

    def product(self, transport: Transport | None = None) -> Cluster:
        """A client with the product's own rights."""
        return Cluster(transport or HttpTransport(self.product_access), backoff_seconds=0.02)

    def namespace(self, *, without: Right | None = None, again: str | None = None) -> str:
        """A fresh namespace in which the product has its rights, as ``deploy/namespaced`` gives them, all of them or ``without`` one.

        ``again`` is the name of one that is gone.
        """
        name = again or f"t{next(_numbers)}"
        rights = list(yaml.safe_load_all((shipped("deploy") / "namespaced" / "rights.yaml").read_text()))
        if without is not None:
            kept = [each for each in rights_of(rights[0]) if each != without]
            rights[0]["rules"] = [{"apiGroups": [r.group], "resources": [r.resource], "verbs": [r.verb]} for r in kept]
        rights[1]["subjects"] = [{"kind": "User", "name": USER, "apiGroup": "rbac.authorization.k8s.io"}]
        self.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])
        self.apply(rights, name)
        asyncio.run(self._may(name, rights_of(rights[0])))
        return name

    async def _may(self, namespace: str, rights: Sequence[Right]) -> None:
        """Wait until the product has them: the API server hears of a Role as of anything else, a moment later. Raises TimeoutError."""
        async with asyncio.timeout(_HEARD_SECONDS), self.product() as product:
            while lacking((await product.own_rules(namespace))[0], rights):
                await asyncio.sleep(0.02)

    def apply(self, manifests: list[Manifest], namespace: str = "") -> None:
        """Apply manifests as the administrator."""
        asyncio.run(apply_manifests(self.admin_access, manifests, namespace, force=True))


@contextmanager
def open_lab() -> Iterator[Lab]:
    """A cluster that ends with the ``with``. Raises ChildFailed."""
    with ControlPlane((USER,)) as plane:
        admin = token_access(plane.server, plane.admin_token, str(plane.certificate_authority))
        with FakeKubelet(admin) as kubelet:
            yield _with_routes(Lab(plane, kubelet))


@contextmanager
def open_api_server(*, gateway_api: bool = True) -> Iterator[Lab]:
    """A cluster of an API server alone, where nothing ever runs, that ends with the ``with``. Raises ChildFailed."""
    with ControlPlane((USER,), controllers=False) as plane:
        yield _with_routes(Lab(plane, None)) if gateway_api else Lab(plane, None)


def _with_routes(lab: Lab) -> Lab:
    lab.apply([each for path in lab.plane.crds for each in yaml.safe_load_all(path.read_text()) if each])
    return lab
