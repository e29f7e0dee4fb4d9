//go:build tools

// Package tools pins the tests' kube-score: see ../build.sh.
package tools

import _ "github.com/zegl/kube-score/cmd/kube-score"
