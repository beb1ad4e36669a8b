package clienttest

import "syscall"

// ownGroup keeps Ctrl-C of a console from the agent.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
