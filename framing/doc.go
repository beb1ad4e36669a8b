// Package framing is the wire between a microVM's guest agent and its host. It has the frame, a
// codec for every message in both directions, and a decoder for a byte stream that arrives in any
// pieces. It does no I/O and starts nothing. Decoding, parsing valid input and encoding into a
// buffer with room allocate nothing. Guest and host both use it.
//
// The rest of this text is the reference of the base protocol, version 0. It is complete: you can
// write a host from it alone. The page extension.md beside this file is the reference of the
// extension (types 0x20 to 0x5F), which a host has to ask for.
//
// Every rule begins with its name in brackets. The conformance transcripts in
// cmd/vsock-agent/testdata/conformance refer to rules by these names.
//
// # Transport
//
// The transport is a byte stream: AF_VSOCK between host and guest, or an AF_UNIX stream socket on
// one machine.
//
//   - [transport.stream] The cuts between reads mean nothing. A frame may arrive one byte at a
//     time, and one read may hold a thousand frames.
//   - [transport.dial] Over vsock the guest connects to port 1000 of CID 2, the host. Behind
//     Firecracker the host listens on the Unix socket <uds_path>_1000 for these connections.
//   - [transport.listen] Over vsock the guest also listens on port 1000. Behind Firecracker the
//     host connects to <uds_path>, writes "CONNECT 1000\n" and reads "OK <n>\n". Frames follow.
//   - [transport.peer] The guest serves only peers with CID 2. It closes any other connection at
//     once and logs it.
//   - [transport.both] vm-init does both by default, and so does vsock-agent without --unix-socket.
//     An option switches each off.
//   - [transport.connections] Several connections may be open at once. Each has its own requests
//     and its own sequence numbers.
//   - [transport.retry] The guest never gives up on a missing host. It retries after 10 ms and
//     doubles the pause up to 1 s. The pause stays at 100 ms or less if the connect itself
//     succeeded and the host left without a word.
//   - [transport.again] After a connection ends, the guest is reachable again within 1 s. The
//     restore of a snapshot ends every vsock connection.
//   - [transport.lost] Nothing of a lost connection reaches another one, except a process_exit.
//   - [transport.halfclose] When the host shuts down its writing side, the guest sends the replies
//     that are due and then closes.
//   - [transport.pressure] A host that does not read its replies is not read from. The guest
//     buffers at most 64 KiB for it.
//
// With --unix-socket PATH, guest and host meet at a path:
//
//   - [path.meet] PATH may be relative. It must fit into sun_path and must not be abstract.
//   - [path.connect] If a host listens at PATH, the guest connects.
//   - [path.listen] If no file or a stale socket is there, the guest listens at PATH, with mode
//     0600.
//   - [path.lost] The guest notices within 1 s that PATH was deleted, or that a host's listener
//     replaced it. It connects to that listener. It leaves a deleted PATH alone for 300 ms and
//     looks for a host's listener meanwhile, because hosts unlink and bind.
//   - [path.agent] A peer whose first frame is a ready is another guest, not a host. The guest
//     hangs up, tries again each second, and tells it nothing that is for a host.
//   - [path.stale] A socket is stale once the same inode has refused connections for 300 ms. A host
//     between bind and listen refuses too.
//   - [path.bad] Any other kind of file at PATH and a missing directory are errors. The guest exits
//     with code 2 and leaves the file alone.
//   - [path.take] The guest never replaces a file at PATH that it does not own. It binds a
//     temporary name beside PATH and links it into place.
//   - [path.remove] On exit the guest removes the socket that it made, and nothing else.
//
// # Frame
//
//	0               1               2               3
//	+---------------+---------------+---------------+---------------+
//	|                    length = 5 + len(payload)                  |
//	+---------------+---------------+---------------+---------------+
//	|     type      |                      seq                      |
//	+---------------+---------------+---------------+---------------+
//	|  seq (cont.)  |          payload, 0 to 16777211 bytes         |
//	+---------------+                                               |
//	|                               …                               |
//	+---------------------------------------------------------------+
//
//	offset  size  field
//	0       4     length: of the rest of the frame, 5 to 16777216 (16 MiB)
//	4       1     type
//	5       4     seq
//	9       …     payload, length - 5 bytes
//
// Rules:
//
//   - [frame.numbers] Integers are big-endian. They are unsigned, except exit codes, which are
//     two's complement.
//   - [frame.texts] Texts are counted and never terminated. They are bytes in no particular
//     encoding. A payload ends with its last field.
//   - [frame.length] A length outside the range loses the frame boundary. The guest sends the
//     replies that are due, then an error with seq 0, and closes the connection. Everything else
//     keeps running.
//   - [frame.claims] The guest never allocates memory because a length or a count claims it.
//
// # Order
//
//	host                                   guest
//	  | <------------------------- ready 0 |   first frame of every connection
//	  | ping 1 --------------------------> |
//	  | exec 2 "make" -------------------> |
//	  | exec 3 "true" -------------------> |   runs beside 2
//	  | <-------------------------- pong 1 |
//	  | <------------------- exec_result 3 |   replies in the order in which they are due
//	  | spawn_watch 4 "sleep 9" ---------> |
//	  | <------------ spawn_watch_result 4 |   the pid
//	  | <------------------- exec_result 2 |
//	  | <------------------ process_exit 0 |   unsolicited: seq 0
//
// Rules:
//
//   - [order.ready] The first frame of every connection is the guest's ready. A machine that could
//     not boot sends one error with seq 0 instead, and closes.
//   - [order.seq] The host chooses the seq of a request, and the reply carries it. Any value will
//     do. A host with several requests under way uses different values.
//   - [order.unsolicited] Unsolicited frames have seq 0: ready, process_exit, stdout_chunk, and an
//     error about the connection. A host should not use 0 for its requests.
//   - [order.replies] Replies come in the order in which they are ready. Commands run side by side.
//   - [order.writes] A write_file takes effect before the next frame of its connection is looked
//     at.
//
// # Messages
//
// G is the guest and H the host.
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
// Rules:
//
//   - [types.extension] Types 0x20 to 0x5F are kept for the extension. Until a host asks for it
//     with a hello, they are unknown.
//   - [trouble.malformed] A payload that cannot be parsed gets an error with the request's seq, and
//     nothing is done. It is too short or too long, or a count does not add up. A command, path or
//     environment has a NUL, or a flag is unknown.
//   - [trouble.failed] A request that was understood and failed gets the reply of its kind, which
//     has room for the reason.
//   - [trouble.unknown] A type that is unknown, or that only a guest may send, gets an error with
//     the request's seq: "unknown message type 0x42", two digits in upper case. The connection
//     lives on.
//   - [trouble.error] The guest logs an error that it receives and never answers it.
//
// The tables below describe payloads. An offset after a text of n bytes counts from the text's end.
//
// # ready, ping, pong, shutdown, shutdown_ack
//
// These messages have no fields.
//
//   - [ping.payload] The payload of a ping is ignored.
//   - [pong.payload] The payload of a pong is empty.
//   - [shutdown.sync] The guest writes every file system to its disk before it sends shutdown_ack.
//     The payload of a shutdown is ignored.
//   - [shutdown.serve] The guest serves on, before and after. Running commands are left alone.
//
// # exec, spawn_watch
//
// The short form:
//
//	offset  size  field
//	0       4     timeout in milliseconds, 0 is none
//	4       4     n
//	8       n     command
//
// The longer form, in which the part from count on may be left out:
//
//	offset  size  field
//	0       4     timeout
//	4       1     flags: bit 0 = run as root; bit 1 = stream stdout (spawn_watch alone)
//	5       4     n
//	9       n     command
//	+0      4     count of environment entries; the next four fields are there count times
//	+4      4     k
//	+8      k     name: at least one byte, no NUL, no =
//	+0      4     v
//	+4      v     value: no NUL
//	+0      2     m (spawn_watch alone; may be left out with the path)
//	+2      m     path of a log file in the guest: at least one byte, no NUL
//
// Rules:
//
//   - [exec.forms] The payload's length tells the forms apart. It is the short form if 8+n is
//     exactly the length, with the n of the short form. Otherwise it is the longer form if that is
//     exact. Otherwise it is an error. No payload is exact in both.
//   - [exec.env] Environment entries are added to the agent's environment. A later entry of a name
//     wins. An empty name, a name with "=" and a NUL are errors.
//   - [exec.command] The command is what sh -c gets: any bytes but NUL, or none.
//   - [exec.process] The command runs in a process group of its own. Its stdin is /dev/null, and
//     its working directory, umask and environment are the agent's.
//   - [exec.clean] The command inherits no descriptor of the agent's. Its signal mask is empty, and
//     every signal has its default disposition.
//   - [exec.size] Linux runs no command of more than 131071 bytes, and takes no longer environment
//     entry with its name. The guest takes 256 KiB of both. A longer one could not be started: exit
//     code 126, and stderr names the limits.
//   - [exec.root] Running as root does nothing more if the agent is root. Otherwise the command
//     goes through sudo -n.
//   - [exec.timeout] The timeout counts from the command's start. When it runs out, the guest kills
//     the whole process tree: the group, and with cgroup2 every process that left it.
//   - [exec.timedout] A command that timed out has exit code 124. Its output so far is kept, and
//     the last line of stderr is "Timeout".
//   - [exec.code] The exit code is the exit status, or 128+N if signal N killed the command. It is
//     126 or 127 if sh could not be started, and stderr has the reason.
//   - [exec.end] The result is sent when the command has exited and both pipes are at their end. It
//     is sent 100 ms after the exit at the latest. The result has everything that is in the pipes
//     by then.
//   - [exec.background] A process that still holds the pipes is left running. Its later output is
//     read and dropped, so that it neither blocks nor gets SIGPIPE.
//   - [exec.lost] A command outlives its connection, up to its end or its timeout. The exec_result
//     is dropped.
//   - [exec.limit] At most 256 commands run at once. One more gets the error "too many commands
//     running (limit 256)".
//   - [output.cut] Output beyond one frame is read and dropped, so that it never blocks the
//     command. Stderr then ends with the line "[output truncated: N bytes of stdout, M bytes of
//     stderr dropped]", before "Timeout" if both are due.
//   - [output.whole] Output that fits one frame is sent whole. Room for a line is taken only if the
//     line is said.
//   - [output.share] The first bytes of each stream are kept. If both do not fit, stderr keeps at
//     least its first 1 MiB and stdout has the rest.
//   - [spawn.pid] A spawn_watch is answered with the pid as soon as the command has started. A
//     command that could not be started is an error. The process_exit never comes before the pid.
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
// # spawn_watch_result
//
//	offset  size  field
//	0       4     pid
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
// Rules:
//
//   - [exit.way] A process_exit has seq 0. It goes to the connection of its spawn_watch if that is
//     still open, and otherwise to the newest open one.
//   - [exit.kept] If no connection is open, or if the connection breaks before the whole frame was
//     written, the process_exit is kept. At most 256 are kept; the oldest are dropped and logged.
//   - [exit.next] A kept process_exit goes out on the next connection after the guest's first reply
//     there. If the host asks nothing, it goes out 100 ms after ready.
//
// # stdout_chunk
//
//	offset  size  field
//	0       4     pid
//	4       …     bytes of stdout
//
// Rules:
//
//   - [chunk.stream] With flag bit 1 of spawn_watch, stdout goes to the host as it comes, in
//     stdout_chunks with seq 0. The stdout of the process_exit is empty then.
//   - [chunk.way] Chunks go to the connection that the process_exit would go to, and all of them
//     come before it. Without a connection they wait for the next one. Bytes on their way when a
//     connection ends are lost.
//   - [chunk.pressure] A host that does not read makes the command wait. No output is dropped.
//   - [chunk.log] With a log path, stdout is also appended to that file. It is created with mode
//     0644, but its directory must exist. A log path alone means stdout_chunks too.
//   - [chunk.unlogged] Output that cannot be logged is sent all the same. The log ends there, and
//     stderr ends with the line "[log incomplete: REASON]".
//
// # write_file
//
//	offset  size  field
//	0       2     n
//	2       n     path: no NUL
//	+0      1     flags: bit 0 = write as root; bit 1 = append
//	+1      4     m
//	+5      m     content
//
// Rules:
//
//   - [writefile.atomic] A reader sees the old content or the new one, never a part. A broken
//     connection or a full disk leaves the old file as it was, and no temporary file.
//   - [writefile.inplace] A file that rename cannot replace is written in place. It may be a
//     device, a file in /proc or /sys, a bind mount or a FIFO with a reader. Or its owner or mode
//     could not be kept.
//   - [writefile.fifo] A FIFO without a reader is a failure, never a wait.
//   - [writefile.parents] Missing parent directories are made, with mode 0755 whatever the umask.
//   - [writefile.mode] A new file has mode 0644 whatever the umask. An existing file keeps its
//     mode, owner and extended attributes.
//   - [writefile.links] A symbolic link is followed. If a file has several names, only this name
//     gets the new content.
//   - [writefile.path] A relative path starts at the agent's working directory. An empty path, a
//     directory and a path that ends in a slash parse, and fail.
//   - [writefile.root] Writing as root does nothing more if the agent is root. Otherwise the
//     content goes through sudo -n tee.
//   - [writefile.append] With append, the content is added at the end of the file, in place. A
//     missing file is created. Hosts send a file beyond 15 MiB in pieces: the first without append,
//     the others with it.
//   - [writefile.added] An append adds nothing before all of its content has come. If there is no
//     room for all of it, the file keeps what it had.
//   - [writefile.rights] A file written in place loses its set-ID bits and capabilities. Any other
//     keeps them if it has one name and other users cannot write to its directory.
//   - [writefile.stream] Content goes to the file as it arrives. A frame of 16 MiB needs no 16 MiB
//     in the agent.
//
// # write_file_result
//
//	offset  size  field
//	0       1     success: 1, or 0
//	1       2     n
//	3       n     error: the reason; empty on success
//
// A host goes by success alone and accepts any text with either.
//
// # error
//
//	offset  size  field
//	0       2     n
//	2       n     message
//
// The seq is the request's, or 0 if the error is about the connection.
//
// # Memory
//
//   - [memory.flat] The agent's memory does not grow with the size of a frame, of a command's
//     output or of a file. Its peak (VmHWM) rises by less than 1 MiB over idle for any of them.
//   - [memory.spool] Output past the first buffer goes to an unlinked file in $TMPDIR, /tmp or
//     /var/tmp, the first that works. If none works, output is cut at 1 MiB with the notice.
//
// # Using the package
//
// A reader keeps one buffer, reads into its free end, and calls Decoder.Next until that takes
// nothing. Then it moves the rest to the front. A frame up to the buffer's size comes whole and
// goes to its Parse function. A longer one comes in pieces, for an ExecChecker or a
// WriteFileParser, or to be put together.
//
// Append functions take a slice, append one whole frame (those called Head its beginning), and
// return the longer slice, as append does. They check nothing that a peer would refuse. The
// exception is a path beyond MaxText, at which AppendWriteFileHead panics. Parse functions return
// slices of the payload that they were given, which are valid as long as it is. Results beside an
// error mean nothing.
//
// The extension's messages come whole, and are read and written the same way. Lists in them (Words,
// Env, Limits, Facts, Figures) stay in wire form. Add makes them and All reads them, without a
// slice between. An Append function cuts a text with a 16-bit count to MaxText bytes, because no
// path and no name is that long. AppendFrame makes an input and the messages without fields. The
// content of an output follows AppendOutputHead.
//
// # History
//
//   - Version 0 is the protocol that hosts in the field spoke until spring 2026. The page dropin.md
//     names its revisions and the differences on purpose.
//   - The extension's version 1 added types 0x20 to 0x3F. New types begin at 0x40.
//
// The guest's side of all this is reactor/agent, and the host's is framing/client.
package framing
