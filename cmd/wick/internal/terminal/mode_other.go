//go:build !linux

package terminal

import "wick/framing/client"

// Modes returns nil: the numbers of this system's modes are not those of Linux.
func Modes(...any) *client.Modes { return nil }
