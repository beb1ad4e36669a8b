// Package command serves exec and spawn_watch: a command of the shell, whose output is captured and sent as
// one result.
//
//	exec ─▶ command ─┬─ capture ×2 ──▶ result ──▶ exec_result
//	                 └─ process ── exit, deadline
//
// A spawn_watch is answered at once, and its result comes as a process_exit, which outlives its connection:
// it goes to the newest host. Its stdout may be sent as it comes, in chunks.
//
// Output beyond the first buffer goes to a spool file, and output beyond the limits is dropped, so that a
// command never waits for the agent.
package command
