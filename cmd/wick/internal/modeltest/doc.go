// Package modeltest holds tests that treat an agent badly and know what it owes them all the same: random requests on several
// connections at once, delivered in random pieces, spoiled, cut off, not waited for, with all connections reset at random moments. There
// is nothing in it to import.
//
// A model is an agent and what is known of it. Hosts play sessions in it, each a connection from its ready to one of the
// ends that a connection can have:
//
//	host ─ requests ─▶ conn ─▶ agent          what each request is owed: request, command, watch, file
//	       faults ───▶      ◀─                what each frame is held against: conn, exits
//
// Many of them ask for the extension, and then mix its requests with the base protocol's. What has more than one reply is a channel, which the host
// tends: a process (proc) on a connection (binding), a read or list (reader), a write (fileWriter), a pressure, a script of operations on files. A
// process that is kept outlives its connection; it is an orphan until a host attaches to it again, with what it knows to have come.
//
//	tend ─ credit, input, signal, close ─▶ agent
//	                        channel.take ◀─       what is written byte for byte, as much as was granted, one receipt at the end
//
// When all hosts are done the model comes to rest, and then the agent must hold no more than it did in the beginning: figures. What is
// random comes from a seed, which a test that fails prints:
//
//	go test ./cmd/wick/internal/modeltest -run Model -modeltest.seed 7
//
// The same seed makes the same decisions. When they meet in the agent is up to the machine, so a failure may take some tries.
//
// The frames are made and taken apart by package wiretest, which shares no code with package framing.
package modeltest
