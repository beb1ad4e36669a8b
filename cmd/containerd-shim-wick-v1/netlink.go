package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// The kernel's numbers of traffic control; rtnetlink.h, pkt_sched.h, pkt_cls.h and tc_mirred.h in
// linux.
const (
	tcKind, tcOptions   = 1, 2
	u32Sel, u32Act      = 5, 7
	actKind, actOptions = 1, 2
	mirredParms         = 2
	ingressParent       = 0xfffffff1
	ingressHandle       = 0xffff0000
	actStolen           = 4
	egressRedirect      = 1
	u32Terminal         = 1
)

// redirect sends all frames that arrive at one interface out of the other, as tc does:
//
//	tc qdisc add dev FROM ingress
//	tc filter add dev FROM parent ffff: protocol all u32 match u32 0 0 \
//		action mirred egress redirect dev TO
func redirect(from, to int) error {
	native := binary.NativeEndian
	qdisc := attribute(nil, tcKind, []byte("ingress\x00"))
	err := request(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
		append(tcMessage(from, ingressHandle, ingressParent, 0), qdisc...))
	if err != nil {
		return fmt.Errorf("add a qdisc: %w", err)
	}
	// struct tc_mirred: index, capab, action, refcnt, bindcnt, eaction, ifindex.
	var mirred []byte
	for _, n := range []uint32{0, 0, actStolen, 0, 0, egressRedirect, uint32(to)} {
		mirred = native.AppendUint32(mirred, n)
	}
	action := attribute(nil, actKind, []byte("mirred\x00"))
	action = attribute(action, actOptions|unix.NLA_F_NESTED, attribute(nil, mirredParms, mirred))
	// struct tc_u32_sel with one key, whose mask of 0 matches everything.
	sel := make([]byte, 32)
	sel[0], sel[2] = u32Terminal, 1
	options := attribute(nil, u32Sel, sel)
	options = attribute(options, u32Act|unix.NLA_F_NESTED, attribute(nil, 1|unix.NLA_F_NESTED, action))
	filter := attribute(nil, tcKind, []byte("u32\x00"))
	filter = attribute(filter, tcOptions|unix.NLA_F_NESTED, options)
	const priority = 1 << 16
	all := uint32(native.Uint16([]byte{0, unix.ETH_P_ALL})) // in the network's order
	err = request(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
		append(tcMessage(from, 0, ingressHandle, priority|all), filter...))
	if err != nil {
		return fmt.Errorf("add a filter: %w", err)
	}
	return nil
}

// unredirect undoes redirect.
func unredirect(from int) error {
	return request(unix.RTM_DELQDISC, 0, tcMessage(from, ingressHandle, ingressParent, 0))
}

// tcMessage returns a struct tcmsg.
func tcMessage(index int, handle, parent, info uint32) []byte {
	b := make([]byte, 4) // the family, and padding
	for _, n := range []uint32{uint32(index), handle, parent, info} {
		b = binary.NativeEndian.AppendUint32(b, n)
	}
	return b
}

// attribute appends an attribute of netlink.
func attribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// request sends a request to rtnetlink in the thread's network namespace, and waits for the answer.
func request(kind uint16, flags int, body []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags))
	b = append(b, make([]byte, 8)...) // sequence and port
	b = append(b, body...)
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	answer := make([]byte, 8<<10)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return os.NewSyscallError("recvfrom", err)
	}
	// A struct nlmsghdr, and that of an error: its number, or 0.
	if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		return errors.New("rtnetlink: unexpected answer")
	}
	if e := int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); e != 0 {
		return unix.Errno(-e)
	}
	return nil
}
