//go:build !linux

package client

import (
	"net"
	"path/filepath"
)

// listenIn listens at the name s in dir.
func listenIn(dir string) (*net.UnixListener, error) { return listenUnix(filepath.Join(dir, "s")) }
