// Package accounts looks up users and groups by name or number: in a guest, where it reads the
// guest's /etc/passwd and /etc/group, or on this machine.
package accounts
