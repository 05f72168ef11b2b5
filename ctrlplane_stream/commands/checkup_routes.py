"""What ``doctor`` says of a route: whether the gateways that it names do what it says, and what to do where one does not. Pure."""

from ctrlplane_stream.actuators.kubernetes.accepted import No, accepting, refusals
from ctrlplane_stream.actuators.kubernetes.objects import Manifest, name_of
from ctrlplane_stream.commands.findings import Finding, note, ok, wrong

_BY_REASON = {
    "NotAllowedByListeners": "let the listener admit routes of this kind and namespace (its `allowedRoutes`)",
    "NoMatchingListenerHostname": "give the route a hostname that a listener has, or the listener one of the route's",
    "NoMatchingParent": "correct the route's `parentRefs`: there is no such listener or port",
    "UnsupportedValue": "take out of the route what this gateway does not know",
    "BackendNotFound": "make the Service that it misses, or take that out of the rule",
    "RefNotPermitted": "make a ReferenceGrant where that Service is, or name one of the route's namespace",
    "InvalidKind": "name Services as backends, and nothing else",
    "UnsupportedProtocol": "correct the `appProtocol` of that Service's port",
}
"""Remedies by the reasons that Gateway API defines; a gateway may have others."""
_BY_CONDITION = {
    "Accepted": "see the Gateway's listeners and the route's `parentRefs`",
    "ResolvedRefs": "see the backends that the route's rules name",
    "PartiallyInvalid": "correct the rules that it dropped",
}
_UNTIL_THEN = "until then its weights are not in force, and rollouts by it hold"


def check_route(kind: str, route: Manifest) -> list[Finding]:
    """A finding for each gateway that says no, or one; ``kind`` is the route's."""
    check = f"kubernetes {kind} {route['metadata'].get('namespace')}/{name_of(route)}"
    found = [wrong(check, no.words, f"{_remedy(no)}: {_UNTIL_THEN}") for no in refusals(route)]
    if found:
        return found
    gateways = accepting(route)
    if gateways:
        return [ok(check, f"accepted by {' and '.join(gateways)}")]
    if not route["spec"].get("parentRefs"):
        return [note(check, "names no gateway, so that nothing goes by its weights", "add `parentRefs` to it")]
    remedy = "see that a controller for the gateways in its `parentRefs` runs, unless yours is one that says nothing: arrivals tell then"
    return [note(check, "no gateway says whether it accepts it", remedy)]


def _remedy(no: No) -> str:
    return _BY_REASON.get(no.reason) or _BY_CONDITION[no.condition]
