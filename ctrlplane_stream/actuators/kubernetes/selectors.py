"""Label selectors as Kubernetes defines them: whether one chooses labels. Pure."""

from collections.abc import Mapping
from typing import Any


def chooses(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector (``matchLabels`` and ``matchExpressions``) chooses something with these labels.

    None chooses nothing, an empty one everything, as in a disruption budget of ``policy/v1``. An operator that is not known does
    not choose.
    """
    if selector is None:
        return False
    exact = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return exact and all(_holds(each, labels) for each in selector.get("matchExpressions") or [])


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    there, values = labels.get(str(expression["key"])), expression.get("values") or []
    match expression["operator"]:
        case "In":
            return there in values
        case "NotIn":
            return there not in values
        case "Exists":
            return there is not None
        case "DoesNotExist":
            return there is None
        case _:
            return False
