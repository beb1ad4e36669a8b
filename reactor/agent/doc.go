// Package agent serves hosts from within a machine. It speaks the protocol that package framing describes,
// on a reactor's loop.
//
// An [Agent] is made of rooms, packages below internal that import each other in one direction alone:
//
//	link ── a connected socket ──▶ wire ── a frame ──▶ the room that registered its type
//
//	command   exec, spawn_watch: output is captured and sent as one result
//	session   start, attach, signal, processes: streams with credit, kept without a connection
//	files     write_file, read, write, stat, list, change
//	machine   hello, ping, stats, pressure, shutdown, freeze, restore
//
// These stand on launch (accounts, environments, a table of processes), contain (a cgroup for each
// command), log and sys.
//
// This package itself puts the rooms together, and has what concerns all of them: the options and limits,
// the signals, and the way down. On the way down it asks each room whether it is busy, and tells it to drop
// what it holds. A room says when its answer may differ by calling the function that it was given for that.
//
// Everything that a host or a command can make grow has a limit. Those that an operator can set are in
// limits.go; the others stand in the room that they concern.
package agent
