// Package wire serves connections: it decodes frames, gives each to the handler of its type, and
// sends replies. It knows nothing of what a request does.
//
// A [Server] holds the connections and the table of handlers, which the rooms fill once, when
// they are made. A [Conn] is one connection, and all that a handler may do to it. A handler
// replies with [Conn.Reply], or later with [Conn.ReplyLater] or a [Waiter].
//
// A [Channel] is what frames with one seq go to until it is closed: a process's streams, a file
// that is read or written. It sends as a [Producer], one frame in turn with the others of its
// connection.
//
// Back-pressure: while a connection's output is full, nothing more is read from it. While a
// handler has it held ([Conn.Hold]), nothing more is decoded.
package wire
