"""The judge role: windows to the dependency graph, and to verdicts about the steps under way."""
