// Package framing is the wire between a microVM's guest agent and its host: the frame, a codec for every message in
// both directions, and a decoder that takes a byte stream as it comes. It does no I/O, starts nothing, and
// allocates nothing to decode, to parse what is valid, or to encode into a buffer with room. Guest and host both
// use it.
//
// The rest of this text is the base protocol's reference. It is complete: a host can be written from it alone. What a
// host may ask for beyond it (streams and terminals, files, the machine: types 0x20 to 0x3E) is the extension, whose
// reference is the page extension.md beside this file.
//
// # Transport
//
// A stream of bytes, AF_VSOCK between host and guest, or an AF_UNIX stream socket where both are on one machine.
// Where the stream is cut means nothing: a frame may come one byte at a time, or a thousand frames in one read.
//
// Over vsock either side may be the one that connects, on port 1000. The guest dials the host (CID 2), where
// Firecracker hands the connection to a host that listens on the Unix socket <uds_path>_1000. And the guest
// listens, to be dialed by the host and nobody else: behind Firecracker, connect to the Unix socket <uds_path>,
// write "CONNECT 1000\n", read "OK <n>\n" (n is of no use), and frames follow. Any other peer of the guest's port
// is closed at once.
//
// Over a Unix socket at an agreed path the guest connects if a host listens there, and listens there itself if
// nothing does. The guest leaves a path that was deleted alone for 300 ms, so that a host may unlink and bind it; it
// looks for the host's listener meanwhile. A peer that begins with ready is another guest, not a host: the guest
// hangs up.
//
// The guest retries for ever, after 10 ms at first and 1 s at most, and is reachable again within 1 s of a
// connection's end. The longest wait is 100 ms if the guest could connect and the host left without a word. Several
// connections may be open at once, each with requests and seqs of its own. Nothing of a connection that ended reaches
// another but a process_exit.
//
// # Frame
//
//	offset  size  field
//	0       4     length: of what follows it, 5 to 16777216 (16 MiB)
//	4       1     type
//	5       4     seq
//	9       …     payload, length - 5 bytes: at most 16777211
//
// Integers are big-endian, and unsigned but for exit codes, which are two's complement. Texts are counted, never
// terminated; they are bytes in no particular encoding. A payload ends where its last field does.
//
// A length outside its range cannot be recovered from: nobody knows where the next frame begins. The guest sends
// what is due, then an error with seq 0, and closes that connection; all else goes on.
//
// # Order
//
// The first frame on every connection is the guest's ready. A machine that could not boot sends one error with seq
// 0 in its place, and closes.
//
// The asker chooses a request's seq, and the reply has it again. Any value will do; a host with more than one
// request under way uses different ones, for replies come in whatever order they are ready: execs run side by side.
// Unsolicited frames (ready, process_exit, stdout_chunk, an error about the connection) have seq 0, so a host does well not
// to use it. One order is kept: a write_file has taken effect before the next frame on its connection is looked at.
//
// Requests may be sent without waiting. A host that does not read its replies is after a while not read from
// either. When a host shuts down its writing side, the guest sends what is still due and then closes.
//
// # Messages
//
// G is the guest, H the host. Types 0x20 to 0x3F are kept for the extension, and unknown to a guest until a host asked
// for it with a hello.
//
//	type  way  name                answered by
//	0x00  G→H  ready
//	0x01  H→G  ping                pong
//	0x02  G→H  pong
//	0x03  H→G  exec                exec_result
//	0x04  G→H  exec_result
//	0x05  H→G  write_file          write_file_result
//	0x06  G→H  write_file_result
//	0x07  H→G  spawn_watch         spawn_watch_result, and a process_exit later
//	0x08  G→H  spawn_watch_result
//	0x09  G→H  process_exit
//	0x0A  H→G  shutdown            shutdown_ack
//	0x0B  G→H  shutdown_ack
//	0x0C  G→H  stdout_chunk
//	0xFF  G→H  error               nothing: it is only logged
//
// Trouble takes one of two ways. What was understood and then failed gets the reply of its kind, which has room for
// the reason: an exit code, a write_file_result that is no success. What was not understood gets an error with the
// request's seq, and nothing was done: a payload that is short or long or has a count that does not add up, a NUL
// in a command, path or environment, a flag that is not known; a type that is unknown or only a guest's ("unknown
// message type 0x42": two digits, upper case). An error also answers a request there is no room for: more than 256
// commands running at once ("too many commands running (limit 256)"), and a spawn_watch whose command could not be
// started. The connection lives on.
//
// The tables below are of payloads. Offsets after a text of n bytes are from its end.
//
// # ready, ping, pong, shutdown, shutdown_ack
//
// No fields. A payload of ping or shutdown is ignored; the others have none. The shutdown_ack is sent after every
// file system was synced. Nothing else is shut down: the guest serves on, before and after, and running commands
// are left alone.
//
// # exec, spawn_watch
//
// The short form:
//
//	offset  size  field
//	0       4     timeout in milliseconds from the start of the command; 0 is none
//	4       4     n
//	8       n     command
//
// The longer form, of which the part from count on may be left out:
//
//	offset  size  field
//	0       4     timeout
//	4       1     flags: bit 0 = run as root; bit 1 = stream stdout, of a spawn_watch; no other is known
//	5       4     n
//	9       n     command
//	+0      4     count of environment entries; what follows is there count times
//	+4      4     k
//	+8      k     name: at least one byte, no NUL, no =
//	+0      4     v
//	+4      v     value: no NUL
//
// Behind the entries, or behind a count of 0, a spawn_watch may have the path of a log:
//
//	offset  size  field
//	+0      2     l: at least 1
//	+2      l     path: no NUL
//
// The payload's length tells them apart. It is the short form if 8+n is exactly the length, with the n of the short
// form; else it is the longer form if that is exact; else it is an error. No payload is exact in both.
//
// The command is what sh -c gets: any bytes but NUL, or none at all. It runs in a process group of its own with
// /dev/null as stdin and with the agent's working directory, umask and environment, to which the entries are added.
// Of a name that comes twice the last entry counts. Running as root takes nothing if the agent is root, and
// otherwise goes through sudo -n. Linux runs no command of more than 131071 bytes, and no entry of more with its
// name; the guest takes 256 KiB of both. What is longer could not be started: 126, and stderr names the limits.
//
// When the timeout runs out, the command is killed with all its descendants.
//
// A spawn_watch with bit 1 or a log has its stdout sent in stdout_chunks. It is appended to the log too, a file in the
// guest that is created with mode 0644; its directory must exist. What cannot be logged is sent all the same: the log
// ends there, and stderr ends with the line "[log incomplete: REASON]".
//
// # exec_result
//
//	offset  size  field
//	0       4     exit code, signed
//	4       4     n
//	8       n     stdout
//	+0      4     m
//	+4      m     stderr
//
// The exit code is the command's exit status, or 128+N if signal N killed it, or 124 if its timeout ran out (stderr
// then ends with the line "Timeout"), or 126 or 127 if sh could not be started (stderr says why).
//
// The result is sent when the command has exited and its output is at its end, or 100 ms after it exited, whichever
// is first: what is in the pipes by then is still part of it. What it left running in the background goes on running, and what that writes
// later is dropped.
//
// Output that fills the frame exactly is sent whole. Output that does not fit the frame is dropped. Stderr then ends with the line "[output truncated: N bytes of
// stdout, M bytes of stderr dropped]", before "Timeout" if both are due. Of each the first bytes are kept: of
// stderr at least 1 MiB if it has that many, of stdout what then has room.
//
// When its connection ends, a command runs on, and its result is dropped.
//
// # spawn_watch_result
//
//	offset  size  field
//	0       4     pid
//
// It is sent as soon as the command was started, and always before the process_exit.
//
// # process_exit
//
//	offset  size  field
//	0       4     pid
//	4       4     exit code, signed
//	8       4     n
//	12      n     stdout
//	+0      4     m
//	+4      m     stderr
//
// As exec_result, with seq 0. It goes to the connection of its spawn_watch if that is still open, and else to the
// newest that is; if there is none, or it broke before all of the frame was written, it is kept for the next. It
// follows the first reply on a connection, or comes 100 ms after the ready if nothing was asked. At most 256 are kept,
// and the oldest are dropped first.
//
// # stdout_chunk
//
//	offset  size  field
//	0       4     pid
//	4       …     content, at least one byte
//
// The next bytes of a spawn_watch's stdout. They go to the connection that its process_exit would go to, and wait for one
// if there is none. A host that does not read makes the command wait. What was on its way when a connection ended is lost.
// The process_exit follows the last chunk, and its stdout is empty.
//
// # write_file
//
//	offset  size  field
//	0       2     n
//	2       n     path: no NUL
//	+0      1     flags: bit 0 = write as root; bit 1 = append; no other is known
//	+1      4     m
//	+5      m     content
//
// The file has the old content or the new, never a part, whatever breaks; what cannot be replaced
// (a device, a file in /proc, a FIFO with a reader, a bind mount) is written in place. Missing
// directories are made with mode 0755. A new file has mode 0644, an old one keeps its mode, owner
// and extended attributes. It keeps set-ID bits and capabilities only if it has one name, is in a
// directory that others cannot write to, and is not written in place. Symbolic links are followed.
// An empty path, a directory, and a path that ends in a slash parse, and fail.
//
// With append the content is added at the end of the file, in place; a missing file is created. Nothing is added
// before all of the content has come. If there is no room for all of it, the file keeps what it had. So a file of any
// length can be sent in pieces: the first without the flag, the others with it.
//
// # write_file_result
//
//	offset  size  field
//	0       1     success: 1, or 0
//	1       2     n
//	3       n     error: why it failed; empty on success
//
// A reader goes by success alone, and takes any text with either.
//
// # error
//
//	offset  size  field
//	0       2     n
//	2       n     message
//
// The seq is the request's, or 0 if the error is about the connection.
//
// # Using the package
//
// A reader keeps one buffer, reads into its free end, and calls Decoder.Next until that takes nothing; then it
// moves what is left to the front. A frame up to the buffer's size comes whole and goes to its Parse function. A
// longer one comes in pieces, for an ExecChecker or a WriteFileParser, or to be put together.
//
// Append functions take a slice, append one whole frame (those called Head its beginning), and return the longer
// slice, as append does. They check nothing that a peer would refuse, but for a path beyond MaxText, at which
// AppendWriteFileHead panics. Parse functions return slices of the payload that they were given, which are good for
// as long as it is. What they return beside an error means nothing.
//
// The extension's messages come whole, and are read and written the same way. Lists in them (Words, Env, Limits, Facts,
// Figures) stay in wire form: made with Add, and read with All, without a slice between. An Append function cuts a text
// with a 16-bit count to MaxText bytes, for there is no path and no name of that length. An input and the messages
// without fields are made with AppendFrame, the content of an output goes behind AppendOutputHead.
//
// The guest's side of all this is reactor/agent, and the host's framing/client.
package framing
