"""From a template to the Pods of one version: image by digest, its own configuration, and our version as a resource attribute. Pure."""

import copy
from collections.abc import Mapping
from urllib.parse import quote

from ctrlplane_stream.actuators.kubernetes.objects import Manifest
from ctrlplane_stream.model.catalog import variable_of
from ctrlplane_stream.model.identity import VERSION_ATTRIBUTE, Target
from ctrlplane_stream.model.world import WantedVersion

_RESOURCE = "OTEL_RESOURCE_ATTRIBUTES"
POD_VARIABLE = "CTRLPLANE_POD"
"""A variable that every container of a version has of us, and no other container."""


def workload_of(template: tuple[Manifest, ...]) -> Manifest | None:
    """The template's Deployment or CronJob, or None where there is no template."""
    return next((manifest for manifest in template if manifest.get("kind") in ("Deployment", "CronJob")), None)


def containers_of(workload: Manifest) -> list[Manifest]:
    """The containers of the Pods of a Deployment or CronJob, without those that come before them."""
    spec: Manifest = workload.get("spec") or {}
    pods: Manifest = spec.get("jobTemplate", {}).get("spec", {}) if "jobTemplate" in spec else spec
    found: list[Manifest] = ((pods.get("template") or {}).get("spec") or {}).get("containers") or []
    return found


def configuration_data(configuration: Mapping[str, str]) -> dict[str, str]:
    """The configuration as environment variables: ``colour`` becomes ``CONFIG_COLOUR``, as every actuator has it."""
    return {variable_of(key): value for key, value in configuration.items()}


def pod_spec(
    spec: Manifest,
    target: Target,
    version: WantedVersion,
    *,
    container: str | None,
    copies: Mapping[str, str],
    configuration: str | None,
    standby: bool,
) -> Manifest:
    """The Pod spec of a version, from the template's.

    ``container`` gets the image (default: the one named like the service, else the first), and so does whatever has the same one
    in the template, init containers among them; these alone are the service and get its name. ``copies`` maps the names of the template's
    ConfigMaps to those of this version's copies. ``configuration`` names the ConfigMap with the version's configuration, which every
    container gets as environment variables.
    """
    made = _renamed_config_maps(copy.deepcopy(spec), copies)
    chosen = _chosen(made["containers"], container or target.service.rpartition("/")[2])
    before = chosen.get("image")
    for each in [*made["containers"], *(made.get("initContainers") or [])]:
        is_the_service = each is chosen or (before is not None and each.get("image") == before)
        if is_the_service:
            each["image"] = str(version.artifact)
        environment = list(each.get("env") or [])
        set_already = {str(variable.get("name")): variable for variable in environment}
        environment = [variable for variable in environment if variable.get("name") != _RESOURCE]
        ours = [{"name": POD_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
        ours += [{"name": "CTRLPLANE_VERSION", "value": version.label}]
        if is_the_service and "OTEL_SERVICE_NAME" not in set_already:
            ours.append({"name": "OTEL_SERVICE_NAME", "value": target.service.rpartition("/")[2]})
        ours += [{"name": "CTRLPLANE_STANDBY", "value": "1"}] if standby else []
        attributes = _attributes(target, version, str(set_already.get(_RESOURCE, {}).get("value") or ""))
        each["env"] = [*environment, *ours, {"name": _RESOURCE, "value": attributes}]
        if configuration is not None:
            each["envFrom"] = [*(each.get("envFrom") or []), {"configMapRef": {"name": configuration}}]
    return made


def _chosen(containers: list[Manifest], name: str) -> Manifest:
    return next((container for container in containers if container.get("name") == name), containers[0])


def _attributes(target: Target, version: WantedVersion, set_already: str) -> str:
    """Resource attributes as the specification has them in an environment variable; our version wins over the template's.

    They say of which Pod something comes, so every container has them, a proxy beside the service too: one that emits spans by the
    service's own name, as a mesh's does, would otherwise be of no version, and its failures nobody's. By another name the version tells
    nothing wrong, since a version means something only together with a service.
    """
    namespace = target.service.rpartition("/")[0]
    ours = {
        "service.namespace": quote(namespace, safe=""),
        "deployment.environment.name": quote(target.environment, safe=""),
        "service.instance.id": f"$({POD_VARIABLE})",
        VERSION_ATTRIBUTE: quote(version.label, safe=""),
    }
    theirs = [pair.strip() for pair in set_already.split(",") if pair.strip()]
    named = {pair.partition("=")[0].strip() for pair in theirs}
    kept = [pair for pair in theirs if pair.partition("=")[0].strip() != VERSION_ATTRIBUTE]
    added = [f"{key}={value}" for key, value in ours.items() if value and (key == VERSION_ATTRIBUTE or key not in named)]
    return ",".join([*kept, *added])


def _renamed_config_maps(spec: Manifest, copies: Mapping[str, str]) -> Manifest:
    """The spec with every reference to a copied ConfigMap turned to the copy."""
    for container in [*spec["containers"], *(spec.get("initContainers") or [])]:
        for source in container.get("envFrom") or []:
            _rename(source.get("configMapRef"), copies)
        for variable in container.get("env") or []:
            _rename((variable.get("valueFrom") or {}).get("configMapKeyRef"), copies)
    for volume in spec.get("volumes") or []:
        _rename(volume.get("configMap"), copies)
        for source in (volume.get("projected") or {}).get("sources") or []:
            _rename(source.get("configMap"), copies)
    return spec


def _rename(reference: Manifest | None, copies: Mapping[str, str]) -> None:
    if reference is not None and reference.get("name") in copies:
        reference["name"] = copies[reference["name"]]
