"""The OTLP intake: for those who run no OpenTelemetry Collector yet, the records that its Kafka exporter would write.

OTLP/HTTP and OTLP/gRPC in, ``otlp_spans`` out. A request is answered only after the broker acknowledged every record
that holds a part of it; what cannot be taken is refused so that the sender knows whether to try again.
"""
