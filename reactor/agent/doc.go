// Package agent serves hosts from within a machine: it speaks the protocol that package framing describes, as policy on
// a reactor's loop.
//
// An [Agent] has ways to its host (a vsock dial, a vsock listener, a path of a Unix socket), connections, commands and little
// else. A request goes one way through the package:
//
//	conn.Input ─ decoder ─▶ frame/piece ─┬─▶ exec ──▶ command ── capture ×2 ──▶ result ──▶ conn.send
//	                                     ├─▶ upload ─ staging ─▶ rename, copying or sudo ──▶ reply
//	                                     ├─▶ syncer ──▶ reply
//	                                     ├─▶ extended ─▶ facts, stats, pressure, restore, freezer, power ──▶ done, figures
//	                                     └─▶ pong, error
//
// A started process is a session: its outlets and its inlet move bytes between pipes, or a terminal, and the connection as credit allows, and
// what an exec is too, a child in a cgroup with a deadline, is a process of the same type. A session that is kept has no connection at times:
//
//	conn.extended ─ start ─▶ session ─┬─ outlet ×2 ──▶ conn.queue ─ serveLine ──▶ output … close
//	                                  ├─ inlet ◀── input, close
//	                                  └─ process ── figures ──▶ exited
//
// The files of the extension share staging and target with write_file. Their channels belong to a connection, and a read's or list's output is
// made a frame at a time, in turn with that of others:
//
//	conn.extended ─ fileRequest ─┬─▶ fileRead, fileList ──▶ conn.queue ─ serveLine ──▶ output … done
//	                             ├─▶ fileWrite ─ staging ─▶ fsync ─▶ rename ──▶ done
//	                             └─▶ stat, change ──▶ stat_result, done
//
// Small replies are encoded into the connection's output buffer. What may be long, a command's output, is a
// [reactor.Source], which is asked for the next bytes when the host has taken those before.
//
// What may take as long as a disk does, a sync or a freeze, is a job: a child, this very program, does it (job.go). While the disk is frozen
// the agent itself keeps off it; freeze.go says how. The way down of a machine is down.go's, and ends with the disk settled and the host told.
//
// Everything that a host or a command can make grow has a limit; they stand in limits.go.
package agent
