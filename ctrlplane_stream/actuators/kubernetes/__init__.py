"""Kubernetes behind the port: one immutable Deployment and Service per version, weights by Gateway API or by replicas.

| module | what it is |
|---|---|
| ``objects`` | kinds, labels and annotations: the vocabulary of what we write |
| ``access``, ``api`` | credentials, and a thin REST client with retries |
| ``names``, ``placement`` | where a target lives and what its objects are called |
| ``template``, ``manifests`` | from any template to the objects of one version: pure |
| ``memory`` | the target's cell of compare-and-set: a ConfigMap |
| ``sight`` | everything of one target, read from the API or from watches |
| ``weights``, ``health``, ``strays`` | what a sight means: weights in force, readiness, what people changed: pure |
| ``staffing``, ``due`` | what is to be written next, and why it may be: pure |
| ``hands`` | carries one step out, guarded by what it was decided on |
| ``actuator`` | the port, and the verbs of people |
| ``watching``, ``leases`` | lists and watches instead of polling; leases honoured without the engine |
"""
