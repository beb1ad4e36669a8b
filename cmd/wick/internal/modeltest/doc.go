// Package modeltest holds tests that stress an agent and check everything that it owes its hosts.
// Hosts send random requests on several connections at once. They deliver frames in random pieces,
// corrupt or cut off some, read slowly, and reset all connections at random moments. The package
// exports nothing.
//
// A model is an agent and what is known about it. Its hosts play sessions. Each session is a
// connection, from its ready to one of the ends that a connection can have:
//
//	host ─ requests ─▶ conn ─▶ agent     owed replies: request, command, watch, file
//	       faults ───▶      ◀─           checks of each frame: conn, watch
//
// Most sessions enable the extension, and mix its requests with those of the base protocol. A
// request with several replies is a channel, which the host tends. It may be a process (proc) on a
// connection (binding), a read or list (reader), or a write (fileWriter). It may also be a pressure
// or a script of operations on files. A kept process outlives its connection. It is an orphan until
// a host attaches to it again, from the last byte that has come.
//
//	tend ─ credit, input, signal, close ─▶ agent
//	                        channel.take ◀─       checks: every byte, the credit, one receipt
//
// When all hosts are done, the model comes to rest: it ends every process that waits, and releases
// those that are kept. The agent must then hold no more than at the start (figures). A seed
// determines the random choices. A test that fails prints it:
//
//	go test ./cmd/wick/internal/modeltest -run Model -modeltest.seed 7
//
// The same seed makes the same decisions, but the agent's timing varies. It may take several runs
// to see a failure again.
//
// Package wiretest encodes and decodes the frames. It shares no code with package framing.
package modeltest
