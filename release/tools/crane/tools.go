//go:build tools

// Package tools pins crane, which pushes images: see ../build.sh.
package tools

import _ "github.com/google/go-containerregistry/cmd/crane"
