// Package command serves exec and spawn_watch. It runs a shell command, captures its output and
// sends one result.
//
//	exec ─▶ command ─┬─ capture ×2 ──▶ result ──▶ exec_result
//	                 └─ process ── exit, deadline
//
// A spawn_watch is answered at once. Its result follows as a process_exit, which outlives the
// connection and goes to the newest host. The host may ask for stdout in chunks, as the command
// writes it.
//
// Output beyond one buffer goes to a spool file, and output beyond the limits is dropped. So a
// command never blocks on its output, unless a host takes it in chunks.
package command
