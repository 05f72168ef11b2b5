"""GitOps behind the port: commits to the branch that Argo CD or Flux follows, weights by a cluster's API where there is one.

| module | what it is |
|---|---|
| ``placement`` | which field of which repository says what runs |
| ``yaml_text`` | one scalar of a YAML file, read or replaced without touching anything else: pure |
| ``remote``, ``clone`` | fetch and push by dulwich; a bare clone, and commits made on it |
| ``memory``, ``history`` | what a target remembers of us, in commit trailers; the last commit of ours for each target |
| ``sight``, ``intake`` | what a head of the branch means; from a command to a commit |
| ``desk`` | one repository's thread; what moves at once is one commit |
| ``actuator`` | the port and the verbs of people over a repository alone |
| ``with_cluster`` | the same beside the Kubernetes actuator: commits declare, the API moves weight |
| ``owned``, ``documents`` | what is ours of objects that others sync; the manifests that say whether they leave it alone |
| ``guarding``, ``ignoring`` | what Argo CD and Flux would do to it; what their own rules hide: pure |
"""
