"""The sample shop: services worth releasing, each its own process, watched by the ordinary OpenTelemetry SDK.

One program (``service.py``) plays every service; ``topology.py`` says who calls whom, ``images.py`` which made-up image
behaves how. Nothing in it knows of the engine: what the engine learns, it learns from the spans.
"""
