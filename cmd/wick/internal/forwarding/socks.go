package forwarding

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"time"
)

// socksLimit limits the time that a client takes for its request.
const socksLimit = 10 * time.Second

// The replies of SOCKS5; RFC 1928, 6.
const (
	socksDone        = 0
	socksFailed      = 1
	socksNetwork     = 3
	socksHost        = 4
	socksRefused     = 5
	socksCommand     = 7
	socksAddressType = 8
)

// socks reads the request of a SOCKS5 client (RFC 1928), answers it, and returns the connection
// that it asks for. It supports CONNECT alone, without authentication.
func socks(ctx context.Context, from net.Conn, dial dialer) (net.Conn, error) {
	from.SetDeadline(time.Now().Add(socksLimit))
	address, code, err := socksRequest(from)
	var to net.Conn
	if err == nil {
		from.SetDeadline(time.Time{})
		if to, err = dial(ctx, "tcp", address); err != nil {
			code = socksReply(err)
		}
	}
	if code >= 0 {
		if _, failed := from.Write([]byte{5, byte(code), 0, 1, 0, 0, 0, 0, 0, 0}); err == nil && failed != nil {
			to.Close()
			return nil, failed
		}
	}
	if err != nil {
		return nil, fmt.Errorf("socks: %w", err)
	}
	return to, nil
}

// socksRequest reads the address that a client asks for. code is the code of the reply, or -1 if
// the client gets no reply.
func socksRequest(rw io.ReadWriter) (address string, code int, err error) {
	b := make([]byte, 257)
	read := func(n int) []byte {
		if err == nil {
			_, err = io.ReadFull(rw, b[:n])
		}
		return b[:n]
	}
	if head := read(2); err == nil && head[0] != 5 {
		return "", -1, fmt.Errorf("version %d, want 5", head[0])
	}
	methods := read(int(b[1]))
	if err != nil {
		return "", -1, err
	}
	method := byte(0xff)
	for _, m := range methods {
		if m == 0 {
			method = 0
		}
	}
	if _, err = rw.Write([]byte{5, method}); err != nil {
		return "", -1, err
	}
	if method != 0 {
		return "", -1, errors.New("client requires authentication")
	}
	head := read(4)
	if err != nil {
		return "", -1, err
	}
	if head[1] != 1 {
		return "", socksCommand, fmt.Errorf("command %d: only connect is supported", head[1])
	}
	var host string
	switch head[3] {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = string(read(int(read(1)[0])))
	case 4:
		host = net.IP(read(16)).String()
	default:
		return "", socksAddressType, fmt.Errorf("address type %d", head[3])
	}
	port := read(2)
	if err != nil {
		return "", -1, err
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port[0])<<8|int(port[1]))), socksDone, nil
}

// socksReply returns the code for a failed connect.
func socksReply(err error) int {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return socksRefused
	case errors.Is(err, syscall.ENETUNREACH):
		return socksNetwork
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.ETIMEDOUT):
		return socksHost
	}
	return socksFailed
}
