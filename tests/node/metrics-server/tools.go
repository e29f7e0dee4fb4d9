//go:build tools

// Package tools pins the metrics server of the tests' node: see ../build.sh.
package tools

import _ "sigs.k8s.io/metrics-server/cmd/metrics-server"
