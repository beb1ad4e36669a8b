package main

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attributes is the beginning of the kernel's union bpf_attr, as words.
type attributes [20]uint32

// point sets the 64 bits of two words to the address of an object, which p keeps where it is.
func (a *attributes) point(at int, p *runtime.Pinner, object unsafe.Pointer) {
	p.Pin(object)
	*(*uint64)(unsafe.Pointer(&a[at])) = uint64(uintptr(object))
}

// bpf calls bpf(2), which returns a descriptor or 0.
func (a *attributes) bpf(command uintptr, name string) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_BPF, command, uintptr(unsafe.Pointer(a)), unsafe.Sizeof(*a))
	if errno != 0 {
		return -1, os.NewSyscallError("bpf: "+name, errno)
	}
	return int(fd), nil
}

// divert attaches a program to a network namespace that assigns all incoming TCP connections to a
// socket. It returns the descriptor of the link.
func divert(netns, socket int) (link int, err error) {
	var p runtime.Pinner
	defer p.Unpin()
	create := &attributes{unix.BPF_MAP_TYPE_SOCKMAP, 4, 8, 1} // a key of 4 bytes, a value of 8
	sockets, err := create.bpf(unix.BPF_MAP_CREATE, "create a map")
	if err != nil {
		return -1, err
	}
	defer unix.Close(sockets)
	key, value := new(uint32), new(uint64)
	*value = uint64(socket)
	update := &attributes{uint32(sockets)}
	update.point(2, &p, unsafe.Pointer(key))
	update.point(4, &p, unsafe.Pointer(value))
	if _, err := update.bpf(unix.BPF_MAP_UPDATE_ELEM, "add a socket to a map"); err != nil {
		return -1, err
	}
	program, err := loadProgram(sockets)
	if err != nil {
		return -1, err
	}
	defer unix.Close(program)
	attach := &attributes{uint32(program), uint32(netns), unix.BPF_SK_LOOKUP}
	return attach.bpf(unix.BPF_LINK_CREATE, "attach a program")
}

// instruction is a struct bpf_insn.
type instruction struct {
	code, registers byte // dst, and src above it
	offset          int16
	value           int32
}

// loadProgram loads a program that assigns a TCP connection to the first socket of a map, and lets
// others pass.
func loadProgram(sockets int) (int, error) {
	const ( // include/uapi/linux/bpf.h
		move, call, exit, isNot, is = 0xbf, 0x85, 0x95, 0x55, 0x15
		load, store, add, set, wide = 0x61, 0x62, 0x07, 0xb7, 0x18
		protocol, mapFD, pass       = 12, 1, 1
		mapLookup, release, assign  = 1, 86, 124

		r0, r1, r2, r3, r6, r7, r10 = 0, 1, 2, 3, 6, 7, 10
	)
	code := [...]instruction{
		{move, r6 | r1<<4, 0, 0},
		{load, r2 | r1<<4, protocol, 0},
		{isNot, r2, 14, unix.IPPROTO_TCP}, // to the end
		{store, r10, -4, 0},               // the key
		{move, r2 | r10<<4, 0, 0},
		{add, r2, 0, -4},
		{wide, r1 | mapFD<<4, 0, int32(sockets)},
		{},
		{call, 0, 0, mapLookup},
		{is, r0, 7, 0}, // to the end
		{move, r7 | r0<<4, 0, 0},
		{move, r1 | r6<<4, 0, 0},
		{move, r2 | r7<<4, 0, 0},
		{set, r3, 0, 0},
		{call, 0, 0, assign},
		{move, r1 | r7<<4, 0, 0},
		{call, 0, 0, release},
		{set, r0, 0, pass},
		{exit, 0, 0, 0},
	}
	var p runtime.Pinner
	defer p.Unpin()
	const license, expectedAttach = "GPL\x00", 17
	text := []byte(license)
	at := &attributes{unix.BPF_PROG_TYPE_SK_LOOKUP, uint32(len(code))}
	at.point(2, &p, unsafe.Pointer(&code))
	at.point(4, &p, unsafe.Pointer(&text[0]))
	at[expectedAttach] = unix.BPF_SK_LOOKUP
	fd, err := at.bpf(unix.BPF_PROG_LOAD, "load a program")
	if err != nil {
		return -1, fmt.Errorf("%w; the kernel needs BPF_PROG_TYPE_SK_LOOKUP", err)
	}
	return fd, nil
}
