"""ctrlplane_stream: a release-rollout engine as an event-driven stream processor."""
