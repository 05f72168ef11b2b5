"""Kubernetes behind the port: one immutable Deployment and Service (of a job: CronJob) per version, weights by Gateway API or by replicas.

| module | what it is |
|---|---|
| ``objects``, ``selectors`` | kinds, labels and annotations: the vocabulary of what we write; what a label selector chooses |
| ``access``, ``transport``, ``api``, ``revisions`` | credentials, requests, the verbs with retries, and how far we have read and written |
| ``names``, ``placement`` | where a target lives and what its objects are called |
| ``template``, ``manifests`` | from any template to the objects of one version: pure |
| ``sources`` | which template each version is made from: pure |
| ``memory`` | the target's cell of compare-and-set: a ConfigMap |
| ``sight``, ``recent`` | everything of one target, read from the API or from watches; the API read without waiting |
| ``weights``, ``accepted``, ``health``, ``strays`` | what a sight means: weights, what gateways say of them, readiness, edits: pure |
| ``by_route``, ``behind_service``, ``exchanging``, ``by_runs`` | weight by a route, by shares of Pods, in place, by runs of a job: pure |
| ``autoscaling``, ``runs`` | autoscalers beside a rollout; runs of a job and how they ended: pure |
| ``steps``, ``stamps``, ``due`` | what can be written; whether a sight is too old; what is to be written next, and why it may be: pure |
| ``intake``, ``adoption`` | what a command is held against before it is taken; taking over what runs already |
| ``hands`` | carries one step out, guarded by what it was decided on |
| ``actuator``, ``composition`` | the port and the verbs of people; the same with the clusters of a placement file |
| ``watching``, ``leases`` | lists and watches instead of polling; leases honoured without the engine |
| ``applying``, ``installation``, ``handing_over`` | the worker itself into a cluster, and one's own settings with it |
| ``rights`` | what it must be allowed there |
"""
