"""The OpenTelemetry SDK as any service sets it up: resource, batch processor, OTLP/HTTP exporter, W3C propagation.

The exporter and the sampler read their own ``OTEL_…`` variables. The batch delay is 300 ms (the specification's
default is 5 s) so that windows of a few seconds are whole soon after they end.
"""

import os
from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from ctrlplane_stream.local.shop.surroundings import Surroundings
from ctrlplane_stream.local.shop.topology import ENVIRONMENT
from ctrlplane_stream.model.identity import VERSION_ATTRIBUTE

_BATCH_DELAY_MILLISECONDS = 300.0
_EXPORT_TIMEOUT_SECONDS = 3.0


def tracer_provider(surroundings: Surroundings, environ: Mapping[str, str] = os.environ) -> TracerProvider:
    """A provider for this process. Without ``OTEL_EXPORTER_OTLP_ENDPOINT`` spans are made and go nowhere."""
    provider = TracerProvider(resource=_resource(surroundings), shutdown_on_exit=False)
    if environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        delay = float(environ.get("OTEL_BSP_SCHEDULE_DELAY", _BATCH_DELAY_MILLISECONDS))
        exporter = OTLPSpanExporter(timeout=_EXPORT_TIMEOUT_SECONDS)
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=delay))
    return provider


def _resource(surroundings: Surroundings) -> Resource:
    """Our defaults, then ``OTEL_RESOURCE_ATTRIBUTES``, then the version that whoever started us injected."""
    namespace, _, name = surroundings.service.name.partition("/")
    ours: dict[str, str | list[str]] = {
        "service.namespace": namespace,
        "service.name": name,
        "deployment.environment.name": ENVIRONMENT,
    }
    if surroundings.digest.startswith("sha256:"):
        ours["container.image.repo_digests"] = [f"{surroundings.image}@{surroundings.digest}"]
    injected = {VERSION_ATTRIBUTE: surroundings.version} if surroundings.version else {}
    return Resource.create().merge(Resource(ours)).merge(OTELResourceDetector().detect()).merge(Resource(injected))
