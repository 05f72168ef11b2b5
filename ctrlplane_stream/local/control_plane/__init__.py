"""A real Kubernetes control plane on loopback: etcd, API server and controllers as child processes, without containers.

``binary`` builds it once from pinned Go modules, ``plane`` runs it, ``kubelet`` plays the nodes, ``clients`` speaks to
it for set-up. Nothing here runs an image: Pods become ready, fail or crash as their image says.
"""
