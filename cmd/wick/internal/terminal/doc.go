// Package terminal is the user's own terminal. It sets the terminal's mode while keys go to a
// guest, and restores it on every exit. It follows the window's size, finds the keys that detach,
// and holds keys that are typed while a guest is away. mode.go is the same on every system. The
// files beside it have what differs between Linux, macOS and Windows.
package terminal
