package client

import (
	"fmt"
	"net"
	"os"
)

// listenIn listens at the name s in dir. The path of dir might not fit a socket's address, so the
// address leads through /proc.
func listenIn(dir string) (*net.UnixListener, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return listenUnix(fmt.Sprintf("/proc/self/fd/%d/s", d.Fd()))
}
