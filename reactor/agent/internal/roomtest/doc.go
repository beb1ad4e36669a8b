// Package roomtest has what the tests of the agent and of its rooms share. A [Runner] runs a
// loop, and lets a test look at what lives on it. A [Room] is all that a room is made of. A
// [Host] is the host's side of a connection.
//
// Only tests import it.
package roomtest
