//go:build tools

// Package tools pins the tests' helm: see ../build.sh.
package tools

import _ "helm.sh/helm/v4/cmd/helm"
