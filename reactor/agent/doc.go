// Package agent serves hosts from within a machine. It speaks the protocol of package framing, on a
// reactor's loop.
//
// An [Agent] consists of rooms: packages below internal, which import each other in one direction
// only.
//
//	link ── a connected socket ──▶ wire ── a frame ──▶ the room that registered its type
//
//	command   exec, spawn_watch: output is captured and sent as one result
//	session   start, attach, signal, processes: streams with credit, kept without a connection
//	files     write_file, read, write, stat, list, change
//	machine   hello, ping, stats, pressure, shutdown, freeze, restore
//
// workload starts programs by itself, as sessions, for an agent that is process 1.
//
// They stand on launch (accounts, environments, a table of processes), contain (a cgroup for each
// command), log and sys.
//
// This package puts the rooms together. It has what concerns all of them: options, limits, signals
// and the shutdown. A shutdown asks each room whether it is busy, and at last tells it to drop what
// it holds. A room calls a function that it was given whenever its answer may change.
//
// Everything that a host or a command can make grow has a limit. limits.go has those that an
// operator can set, and each room has its own.
package agent
