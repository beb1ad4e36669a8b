package forward

import (
	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

const (
	// maxPorts limits the records of a list, so that a stream has room for all of them.
	maxPorts = 256
	// maxLooks limits the descriptors that are examined to find the owners of sockets.
	maxLooks = 8192
	// diagReply is the size of the buffer for a part of a dump, in bytes.
	diagReply = 16 << 10
)

// The layout of a request and a reply; linux/netlink.h and linux/inet_diag.h. Numbers are in the
// byte order of the machine, and every architecture that this is built for is little-endian.
const (
	// diagRequest is a dump of the TCP sockets in state 10 (TCP_LISTEN).
	diagRequest = "\x48\x00\x00\x00\x14\x00\x01\x03" + zeros8 + "\x00\x06\x00\x00\x00\x04\x00\x00" +
		zeros8 + zeros8 + zeros8 + zeros8 + zeros8 + zeros8
	zeros8            = "\x00\x00\x00\x00\x00\x00\x00\x00"
	diagRequestFamily = 16
	diagFamily        = 0
	diagPort          = 4
	diagAddress       = 8
	diagInode         = 68
	diagSize          = 72
)

// A list of sockets has records of recordSize bytes: 1 for IPv6, or 0; a port; the inode; the
// address.
const (
	recordPort    = 1
	recordInode   = 4
	recordAddress = 8
	recordSize    = 24
)

// sockets adds the listening sockets of a family to a list.
func sockets(list []byte, fd int, family byte, buf []byte) ([]byte, error) {
	n := copy(buf, diagRequest)
	buf[diagRequestFamily] = family
	if _, err := sys.Send(fd, buf[:n]); err != nil {
		return list, err
	}
	for {
		n, err := sys.Recv(fd, buf, 0)
		if err != nil {
			return list, err
		}
		for b := buf[:n]; len(b) >= unix.SizeofNlMsghdr; {
			size := int(u32(b))
			if size < unix.SizeofNlMsghdr+4 || size > len(b) {
				return list, unix.EBADMSG
			}
			body := b[unix.SizeofNlMsghdr:size]
			switch b[4] {
			case unix.NLMSG_DONE:
				return list, nil
			case unix.NLMSG_ERROR:
				return list, unix.Errno(-u32(body))
			case unix.SOCK_DIAG_BY_FAMILY:
				if len(body) >= diagSize && len(list) < maxPorts*recordSize {
					m := (*[diagSize]byte)(body)
					var r [recordSize]byte
					r[0] = m[diagFamily] / unix.AF_INET6
					copy(r[recordPort:], m[diagPort:diagPort+2])
					copy(r[recordInode:], m[diagInode:diagInode+4])
					copy(r[recordAddress:], m[diagAddress:diagAddress+16])
					list = append(list, r[:]...)
				}
			}
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}

// allSockets returns the listening sockets in the order of the kernel, which stays the same while
// they do.
func allSockets() ([]byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, diagReply)
	list, err := sockets(nil, fd, unix.AF_INET, buf)
	if err == nil {
		list, _ = sockets(list, fd, unix.AF_INET6, buf) // the kernel may have no IPv6
	}
	sys.Close(fd)
	return list, err
}

// owners searches for the processes that have sockets open.
type owners struct {
	list  []byte
	ports []framing.Port
	left  int // sockets without an owner
	looks int // that may still be made
	buf   [sys.KernelFile]byte
}

// search searches /proc/PID/fd, within bounds.
func (o *owners) search() {
	each("/proc", func(pid string) {
		if n, ok := sys.ParseNumber(pid); ok {
			dir := "/proc/" + pid
			each(dir+"/fd", func(fd string) { o.look(dir, "/fd/"+fd, n) })
		}
	})
}

// look examines a descriptor of a process.
func (o *owners) look(dir, fd string, pid uint32) {
	if o.left == 0 || o.looks == 0 {
		return
	}
	o.looks--
	const prefix = "socket:["
	n, _ := unix.Readlinkat(unix.AT_FDCWD, dir+fd, o.buf[:32])
	if n <= len(prefix) || string(o.buf[:len(prefix)]) != prefix {
		return
	}
	inode, _ := sys.ParseNumber(string(o.buf[len(prefix) : n-1]))
	for i := range o.ports {
		if p := &o.ports[i]; u32(o.list[i*recordSize+recordInode:]) == inode && p.PID == 0 {
			p.PID, p.Program = pid, []byte(sys.ReadText(dir+"/comm", o.buf[:]))
			o.left--
		}
	}
}

// each calls f with the name of each entry of a directory.
func each(path string, f func(name string)) {
	if dir, err := sys.OpenDir(path); err == nil {
		sys.EachEntry(dir, make([]byte, 2<<10), f)
		sys.Close(dir)
	}
}

// portsOf returns the records of port_list for a list of sockets.
func portsOf(list []byte) []framing.Port {
	n := len(list) / recordSize
	o := owners{list: list, ports: make([]framing.Port, n), left: n, looks: maxLooks}
	for i := range o.ports {
		r := list[i*recordSize:][:recordSize]
		ip := r[recordAddress:]
		if r[0] == 0 {
			ip = ip[:4]
		}
		o.ports[i] = framing.Port{
			Network: framing.NetworkTCP, Address: appendIP(nil, ip),
			Port: uint16(r[recordPort])<<8 | uint16(r[recordPort+1]),
		}
	}
	o.search()
	return o.ports
}

func u32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}
