// Package wiretest is the tests' own codec of the wire protocol. It is written by hand from the
// protocol's pages, takes whole payloads, is slow, and shares no code with package framing: a
// mistake made there is not made here too, so the tests see it.
//
// The messages are a table of layouts ([Message]), and the same few functions make and take apart
// all of them.
package wiretest
