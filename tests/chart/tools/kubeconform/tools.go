//go:build tools

// Package tools pins the tests' kubeconform: see ../build.sh.
package tools

import _ "github.com/yannh/kubeconform/cmd/kubeconform"
