// Package client is the host's side of the protocol. It connects to a guest, sends requests and
// returns the replies.
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
//	unix:PATH                            connect to a guest that listens on a Unix socket
//	unix-listen:PATH                     listen there, and accept the guest's connection
//	firecracker:UDS[:PORT]               connect through Firecracker's socket (CONNECT PORT, OK)
//	firecracker-listen:UDS[:PORT]        listen on UDS_PORT, to which Firecracker connects
//	vsock:CID[:PORT]                     connect over AF_VSOCK
//	tcp:HOST:TCPPORT                     connect to a TCP port that leads to a guest's Unix socket
//	firecracker-tcp:HOST:TCPPORT[:PORT]  the same, where the socket is Firecracker's
//
// PORT is 1000 by default. CID and PORT are decimal. In the forms of Firecracker a last part of
// digits is the port. If a socket's name ends in such a part the port must be given.
//
// The package works on any host. Where the machine is elsewhere its socket is forwarded, such as by
// ssh -L. TCP is neither encrypted nor authenticated, so HOST is localhost or a loopback address.
// It is for hosts whose ssh forwards no Unix sockets.
//
// # Connections
//
// [Dial] waits until the guest is there and has said ready, or until its context ends. A guest that
// could not boot says why, in a [*BootError]. A guest that connects by itself does so again after
// its connection was lost, as it is whenever a snapshot is restored. A host that must survive that
// keeps a [Listener] and accepts again; a host that connects dials again. [Redial] does either, and
// continues kept processes. No request is repeated, because one whose reply was lost may have run.
//
// A [Client] serves any number of goroutines. Replies are matched to requests by number, so a long
// exec delays no other request. A call whose context ends is forgotten and does not affect the
// connection, except as described at [Client.WriteFile].
//
// # The extension
//
// A current agent can do more than the base protocol: see framing/extension.md. The first call that
// needs it asks the guest (hello), and [Client.Hello] returns the answer. If the guest lacks it, or
// a part of it, the error is an [*UnsupportedError], which is [errors.ErrUnsupported]. The calls of
// the base protocol are not affected.
//
// [Client.Command] and [Client.ShellCommand] return a [Cmd], a process much like that of os/exec,
// with streams, a terminal, signals, limits, and a [Receipt] at the end. Its output takes no more
// memory on this side than the window. A slow reader makes only the process wait. With Keep the
// process outlives the connection: [Cmd.Reattach] continues where it stopped, and [Client.Attach]
// takes it over from another program.
//
//	cmd := c.Command("tar", "-c", "/srv")
//	cmd.Stdout = file
//	receipt, err := cmd.Run(ctx)
//
// Files have the calls of package os: [Client.Stat], [Client.Open], [Client.Mkdir] and so on.
// [Client.WriteStream] writes content of any length, and [Client.FS] returns an [fs.FS].
// [Client.UploadDir] and [Client.DownloadDir] copy directories, and [Client.TarFrom] and
// [Client.TarTo] archives. [PackDir] and [UnpackDir] do the same with a directory here. The flag
// [Safe] prevents that symbolic links are followed.
// [Client.Watch] reports changes of files.
//
// [Client.DialContext] connects to a port or a Unix socket in the guest, which needs no network
// device for that. [Client.Listen] listens there. The results are a [net.Conn] and a
// [net.Listener], so packages such as net/http work over them:
//
//	web := &http.Client{Transport: &http.Transport{DialContext: c.DialContext}}
//	r, err := web.Get("http://localhost:8080/")
//
// [Client.Ports] and [Client.WatchPorts] list the TCP ports that listen in the guest.
//
// [Client.Stats], [Client.Processes] and [Client.WatchPressure] report on the machine, and
// [Client.KernelLog] reads its kernel's log. Call
// [Client.Restore] after a snapshot was restored, and [Client.Freeze] and [Client.Thaw] around a
// copy of its disk. [Client.PowerOff], [Client.Reboot] and [Client.Halt] end it.
//
// # Two ways to run, and two to write
//
// The base protocol is small, and every agent has it. The extension does more, and each current
// agent has it. A program that knows its guests uses the extension:
//
//	                   base protocol               extension
//	run a command      Exec: a line for sh         Command, ShellCommand: a Cmd
//	  streams          output at its end           stdin, stdout, stderr, a terminal
//	  user             the agent's, or root        any
//	  lost connection  the result is lost          with Keep it continues
//	start a process    Spawn, WaitExit             a Cmd with Keep, Attach
//	write a file       WriteFile: up to 16 MiB     WriteStream, Create: any length
//	  while it goes    other requests wait         they do not
//	  the file         mode 0644, or as it was     mode, owner, in place or exclusive
//
// [Client.Exec], [Client.Spawn] and [Client.WriteFile] are for a host that serves older agents too,
// or another agent of the same protocol.
//
// # A guest that is not trusted
//
// A guest that breaks the protocol loses the connection. It cannot hold a call beyond its context.
// Windows and limits bound what it sends: 16 MiB for a frame, [MaxList] for a directory.
// Only [Client.ReadFile], and [Cmd.Output] without a Cap, hold everything that the guest sends.
// Texts from a guest, those in errors too, may contain anything, also control sequences of a
// terminal.
//
// # Errors
//
// A request that the guest refused is a [*RemoteError], and one that cannot be sent a
// [*RequestError]. A file that [Client.WriteFile] could not write is a [*WriteFileError].
//
// Operations of the extension that the guest could not do are an [*fs.PathError] or an [*OpError].
// Both have a [syscall.Errno] that errors.Is finds. A process that could not be started is a
// [*StartError], which is [exec.ErrNotFound] if the program does not exist. One that did not exit
// with 0 is an [*ExitError].
//
// A connection that ended during a call is a [*ConnError], which wraps the cause. It is [io.EOF] if
// the guest closed the connection, and a [*RemoteError] with Seq 0 if the guest said why. It is a
// [*ProtocolError] if the guest broke the protocol, and [ErrClosed] after [Client.Close].
package client
