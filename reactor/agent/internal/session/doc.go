// Package session serves the processes of the extension: their start, their streams with credit, their
// signals and their end.
//
//	start ─▶ session ─┬─ outlet ×2 ──▶ output … close
//	                  ├─ inlet ◀── input, close
//	                  └─ process ── exit ──▶ receipt ──▶ exited
//
// Bytes go straight between a process's pipes, or its terminal, and the connection, as credit allows. A
// session that is kept may have no connection for a while: a ring for each output holds what its host may
// not have got yet, and attach binds it to another connection.
package session
