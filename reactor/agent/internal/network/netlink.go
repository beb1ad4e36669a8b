package network

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

// conn is a conversation with the kernel over netlink(7), for one configuration or one look. The
// kernel answers a request before the write returns, and makes the rest of a dump as it is read. So
// the socket never has to wait.
type conn struct {
	fd   int
	seq  uint32
	buf  []byte
	nics []nic
	// attrs has the attributes of the message that is being taken, by type.
	attrs [maxAttr][]byte
	// took takes a message of an answer, if it is not rtnetlink(7) that answers.
	took func(body []byte)
}

const (
	// bufferSize is the size of the buffer for answers. The kernel fills it with a dump's messages.
	bufferSize = 16 << 10
	// maxNICs limits the interfaces of a look, and maxItems what it holds of each.
	maxNICs  = 1024
	maxItems = 1024
	// maxAttr is above the types of attributes that are read.
	maxAttr = 16
)

// open opens a conversation with rtnetlink(7) and looks.
func (c *conn) open() unix.Errno {
	if errno := c.dial(unix.NETLINK_ROUTE); errno != 0 {
		return errno
	}
	return c.look()
}

func (c *conn) dial(protocol int) unix.Errno {
	const kind = unix.SOCK_RAW | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	var err error
	c.buf = make([]byte, bufferSize)
	c.fd, err = unix.Socket(unix.AF_NETLINK, kind, protocol)
	return sys.ErrnoOf(err) // after an error close does nothing
}

func (c *conn) close() { unix.Close(c.fd) }

// message is a request under construction. It has room for the longest one.
type message []byte

const maxMessage = 128

// newMessage begins a request with a header, whose length and seq are set when it is sent.
func newMessage(typ, flags uint16) message {
	m := make(message, unix.SizeofNlMsghdr, maxMessage)
	put16(m[4:], typ)
	put16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	return m
}

// attr appends an attribute.
func (m message) attr(typ byte, value []byte) message {
	m = m.quad(byte(unix.SizeofRtAttr+len(value)), 0, typ, 0)
	at := len(m)
	m = m[:at+(len(value)+3)&^3]
	copy(m[at:], value)
	return m
}

// attr32 appends an attribute with a number of 32 bits.
func (m message) attr32(typ byte, v uint32) message { return m.quad(8, 0, typ, 0).word(v) }

// word appends a number of 32 bits, and quad four bytes.
func (m message) word(v uint32) message {
	at := len(m)
	m = m[:at+4]
	put32(m[at:], v)
	return m
}

func (m message) quad(a, b, c, d byte) message {
	return m.word(uint32(a) | uint32(b)<<8 | uint32(c)<<16 | uint32(d)<<24)
}

// request sends a request and takes the kernel's answer: the objects of a dump, or an errno.
func (c *conn) request(m message) unix.Errno {
	c.seq++
	put32(m, uint32(len(m)))
	put32(m[8:], c.seq)
	for {
		_, err := unix.Write(c.fd, m)
		if errno := sys.ErrnoOf(err); errno == 0 {
			break
		} else if errno != unix.EINTR {
			return errno
		}
	}
	for {
		n, err := unix.Read(c.fd, c.buf)
		switch errno := sys.ErrnoOf(err); errno {
		case 0:
			if end, errno := c.answer(c.buf[:n]); end {
				return errno
			}
		case unix.EINTR:
		default:
			return errno
		}
	}
}

// answer takes messages of an answer, and reports whether it ends with them.
func (c *conn) answer(b []byte) (end bool, errno unix.Errno) {
	for len(b) >= unix.SizeofNlMsghdr {
		length := int(u32(b))
		if length < unix.SizeofNlMsghdr || length > len(b) {
			break
		}
		typ, seq, body := u16(b[4:]), u32(b[8:]), b[unix.SizeofNlMsghdr:length]
		b = b[min((length+3)&^3, len(b)):]
		switch {
		case seq != c.seq: // the rest of an answer that was not waited for
		case typ == unix.NLMSG_DONE:
			return true, 0
		case typ == unix.NLMSG_ERROR:
			return true, unix.Errno(-int32(u32(body)))
		case c.took != nil:
			c.took(body)
		default:
			c.take(typ, body)
		}
	}
	return false, 0
}

// attributes finds the attributes of a message by their types, and leaves out high types. They are
// in c.attrs until the next call.
func (c *conn) attributes(b []byte) {
	clear(c.attrs[:])
	for len(b) >= unix.SizeofRtAttr {
		length := int(u16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			break
		}
		if typ := u16(b[2:]); typ < maxAttr {
			c.attrs[typ] = b[unix.SizeofRtAttr:length]
		}
		b = b[min((length+3)&^3, len(b)):]
	}
}

// Netlink's numbers are in the machine's byte order. Every architecture that has a guest is
// little-endian.

func put16(b []byte, v uint16) { b[0], b[1] = byte(v), byte(v>>8) }
func put32(b []byte, v uint32) { put16(b, uint16(v)); put16(b[2:], uint16(v>>16)) }

func u16(b []byte) uint16 { return uint16(b[0]) | uint16(b[1])<<8 }

// u32 is 0 if there are no four bytes.
func u32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return uint32(u16(b)) | uint32(u16(b[2:]))<<16
}
