"""The check of ``doctor`` for what others sync: do Argo CD and Flux leave alone what is ours?"""

from collections.abc import Sequence

from ctrlplane_stream.actuators.gitops.guarding import Guarded, Safety, guard
from ctrlplane_stream.actuators.gitops.live import documents_live, owned_at
from ctrlplane_stream.actuators.gitops.owned import Document, Owned
from ctrlplane_stream.actuators.kubernetes.api import Cluster
from ctrlplane_stream.actuators.kubernetes.place import Place
from ctrlplane_stream.actuators.kubernetes.transport import ApiRefused
from ctrlplane_stream.commands.findings import Finding, note, ok, wrong
from ctrlplane_stream.model.identity import Target

_REMEDY = "let doctor list applications.argoproj.io, kustomizations.kustomize.toolkit.fluxcd.io and helmreleases.helm.toolkit.fluxcd.io"


async def check_syncs(cluster: Cluster, check: str, places: Sequence[tuple[Target, Place]]) -> list[Finding]:
    """A finding for each object there of which a part is ours and each agent that syncs it. Raises WorldUnreachable."""
    owned = [(target, each) for target, place in places for each in owned_at(place)]
    try:
        documents = await documents_live(cluster, [each for _, each in owned])
    except ApiRefused as error:
        return [note(check, f"whether Argo CD and Flux leave alone what is ours here is not known: {error}", _REMEDY)]
    return [said for target, each in owned for said in guarded(f"kubernetes {target}", (each,), documents, live=True)]


def guarded(check: str, owned: Sequence[Owned], documents: Sequence[Document], *, live: bool = False) -> list[Finding]:
    """What is to be said of these by the documents of a repository, or (``live``) of the cluster."""
    return [_said(check, said) for each in owned for said in guard(each, documents, live=live)]


def _said(check: str, said: Guarded) -> Finding:
    match said.safety:
        case Safety.SAFE:
            return ok(check, said.what)
        case Safety.UNKNOWN:
            return note(check, said.what, said.remedy)
        case Safety.UNSAFE:
            return wrong(check, said.what, said.remedy)
