//go:build tools

// Package tools pins the runc of the tests' node: see ../build.sh.
package tools

import _ "github.com/opencontainers/runc"
