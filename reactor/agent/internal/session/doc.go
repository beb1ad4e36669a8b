// Package session serves the processes of the extension: their start, their streams with credit,
// their signals and their end.
//
//	start ─▶ session ─┬─ outlet ×2 ──▶ output … close
//	                  ├─ inlet ◀── input, close
//	                  └─ process ── exit ──▶ receipt ──▶ exited
//
// Bytes go straight between a process's pipes, or its terminal, and the connection, within the
// credit. A kept session may lack a connection for a while. A ring for each output holds what the
// host may not have received, and attach binds the session to another connection.
package session
