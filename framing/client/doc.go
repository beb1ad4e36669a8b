// Package client is the host's side of the wire: it reaches a guest, sends it requests and hands
// back the replies.
//
//	c, err := client.Dial(ctx, "firecracker:/run/vm7/v.sock")
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	res, err := c.Exec(ctx, client.Exec{Command: "uname -r", Timeout: 5 * time.Second})
//
// # Addresses
//
// An address says where the guest is and which side connects:
//
//	unix:PATH                        connect to a guest that listens on a Unix socket
//	unix-listen:PATH                 listen there, and take the guest that connects
//	firecracker:UDS[:PORT]           connect through Firecracker's Unix socket (CONNECT PORT, OK)
//	firecracker-listen:UDS[:PORT]    listen on UDS_PORT, where Firecracker brings the guest's own connections
//	vsock:CID[:PORT]                 connect over AF_VSOCK
//
// PORT is 1000 unless it is given, and CID and PORT are decimal. Of firecracker's forms a last part
// that is all digits is the port, so a socket whose name ends in such a part needs its port spelt
// out.
//
// # Connections
//
// [Dial] waits until the guest is there and has said ready, or until its context ends. A guest that
// could not boot says why, and that is a [*BootError]. A guest that connects by itself does so
// again after it lost its connection, as it does whenever a snapshot is restored: a host that is to
// live through that keeps a [Listener] and accepts again. Where the host connects, it dials again.
// Neither is done behind the caller's back, since a request that was lost may have run.
//
// A [Client] serves any number of goroutines. Replies find their requests by number, so an exec
// that takes long holds up nothing else. A call whose context ends is forgotten and costs the
// connection nothing, with the one exception described at [Client.WriteFile].
//
// # The extension
//
// An agent of today can do more than the first messages say: see framing/extension.md. The first
// call that needs it asks the guest (hello), and [Client.Hello] shows the answer. An older agent,
// or one without the part in question, is an [*UnsupportedError], which is [errors.ErrUnsupported];
// the calls of the base protocol work as ever.
//
// [Client.Command] and [Client.ShellCommand] make a [Cmd], a process that can be talked to as with
// os/exec: streams, a terminal, signals, limits, and a [Receipt] at the end. Its output costs this
// side no more memory than the window; a reader that is slow has the process wait, and nothing
// else. With Keep it outlives the connection: [Cmd.Reattach] goes on where it stopped, and
// [Client.Attach] takes it over from elsewhere.
//
//	cmd := c.Command("tar", "-c", "/srv")
//	cmd.Stdout = file
//	receipt, err := cmd.Run(ctx)
//
// Files have the calls of package os ([Client.Stat], [Client.Open], [Client.Mkdir] and so on),
// [Client.WriteStream] for content of any length, [Client.FS] for what takes an [fs.FS], and
// [Client.TarFrom] and [Client.TarTo] for trees. The flag [Safe] keeps symbolic links from being
// followed.
//
// Of the machine there are [Client.Stats], [Client.Processes] and [Client.WatchPressure];
// [Client.Restore] for the moment after a snapshot was restored; [Client.Freeze] and [Client.Thaw]
// for the one in which a disk is copied; and [Client.PowerOff], [Client.Reboot] and [Client.Halt].
//
// # A guest that is not trusted
//
// What a guest sends is believed as far as it goes by the protocol; what does not ends the
// connection. It can hold no call beyond its context, and what it sends is held as far as windows
// and limits reach: 16 MiB for a frame, [MaxList] for a directory. Only [Client.ReadFile] and
// [Cmd.Output] without a Cap hold all that comes. Texts of a guest's, those in errors too, may have
// anything in them, a terminal's controls also.
//
// # Errors
//
// What the guest refused is a [*RemoteError], a file that it could not write a [*WriteFileError], a
// request that cannot be sent at all a [*RequestError]. Of the extension's calls what the guest
// could not do is an [*fs.PathError] or an [*OpError], both with a [syscall.Errno] that errors.Is
// finds; a process that did not start is a [*StartError], one that did not do well an [*ExitError].
// A connection that ended under a call is a [*ConnError], which wraps the cause: [io.EOF] if the
// guest closed it, a [*ProtocolError] if it sent what is no frame, a [*RemoteError] with Seq 0 if
// it said why it left. After [Client.Close] it is [ErrClosed].
package client
