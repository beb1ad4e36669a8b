//go:build unix

package clienttest

import "syscall"

// ownGroup keeps Ctrl-C of a terminal from the agent.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
