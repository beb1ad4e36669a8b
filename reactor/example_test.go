package reactor_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"wick/reactor"
)

// An echo server on a Unix socket and its client run on one loop.
func Example() {
	dir, err := os.MkdirTemp("", "echo")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "socket")

	loop, err := reactor.New(4) // two buffers for each stream
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()
	fd, err := reactor.ListenUnix(path)
	if err != nil {
		log.Fatal(err)
	}
	server := server{loop: loop}
	loop.Listen(&server.Listener, fd, path, &server)

	client := client{loop: loop}
	loop.DialUnix(&client.dial, path, &client)
	if err := loop.Run(); err != nil {
		log.Fatal(err)
	}
	// Output: the client hears "hello, loop"
}

// server accepts connections until the loop is closed.
type server struct {
	reactor.Listener
	loop *reactor.Loop
}

func (s *server) Accepted(fd int, _ reactor.Peer) {
	c := &connection{}
	c.Open(s.loop, fd, "client", c)
}

func (s *server) AcceptFailed(err error) { log.Print(err) }

// connection sends back its input.
type connection struct{ reactor.Stream }

func (c *connection) Input(b []byte) (taken int) {
	for taken < len(b) && !c.Busy() {
		part := b[taken:min(len(b), taken+1024)]
		c.Commit(append(c.Space(len(part)), part...))
		taken += len(part)
	}
	return taken
}

func (c *connection) End(error) { c.Close() }
func (c *connection) Drained()  {}

// client sends hello, and stops the loop when it has got the echo.
type client struct {
	reactor.Stream
	dial reactor.Dial
	loop *reactor.Loop
}

const hello = "hello, loop"

func (c *client) Connected(fd int) {
	c.Open(c.loop, fd, "server", c)
	c.Commit(append(c.Space(len(hello)), hello...))
	c.Flush()
}

func (c *client) DialFailed(err error) { log.Print(err); c.loop.Stop() }

func (c *client) Input(b []byte) int {
	if len(b) < len(hello) {
		return 0 // to get it again with more bytes behind it
	}
	fmt.Printf("the client hears %q\n", b)
	c.loop.Stop()
	return len(b)
}

func (c *client) End(err error) { log.Print(err); c.loop.Stop() }
func (c *client) Drained()      {}
