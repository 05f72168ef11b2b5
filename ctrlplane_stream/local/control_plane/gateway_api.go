//go:build crds

// Never compiled: it pins the module whose config/crd/standard holds the Gateway API's CRDs.
package main

import _ "sigs.k8s.io/gateway-api/apis/v1"
