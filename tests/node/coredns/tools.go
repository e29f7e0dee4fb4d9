//go:build tools

// Package tools pins the CoreDNS of the tests' node: see ../build.sh.
package tools

import _ "github.com/coredns/coredns"
