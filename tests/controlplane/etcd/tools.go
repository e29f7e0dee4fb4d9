//go:build tools

// Package tools pins the etcd of the tests' control plane: see ../build.
package tools

import _ "go.etcd.io/etcd/server/v3"
