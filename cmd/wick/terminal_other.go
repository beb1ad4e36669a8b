//go:build !linux

package main

import "wick/framing/client"

// terminalModes returns nil: the numbers of this system's modes are not those of Linux.
func (t *tool) terminalModes() *client.Modes { return nil }
