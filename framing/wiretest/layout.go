package wiretest

import (
	"fmt"
	"strconv"
	"strings"
)

// The types of messages.
const (
	Ready byte = iota
	Ping
	Pong
	Exec
	ExecResult
	WriteFile
	WriteFileResult
	SpawnWatch
	SpawnWatchResult
	ProcessExit
	Shutdown
	ShutdownAck
	StdoutChunk
	Error byte = 0xff
)

// The types of the extension's messages.
const (
	Hello byte = 0x20 + iota
	HelloResult
	Start
	Started
	Attach
	Input
	Output
	Close
	Credit
	Resize
	Signal
	Exited
	Release
	Processes
	ProcessList
	Done
	Read
	Write
	Stat
	StatResult
	List
	Change
	Skip
)

const (
	Stats byte = 0x38 + iota
	Figures
	Pressure
	Restore
	Freeze
	Thaw
	Power
)

const (
	Connect byte = 0x40 + iota
	Connected
	Listen
	Listening
	Incoming
	Accept
	Ports
	PortList
	Network
	NetworkShow
	Facts
	Configure
	Mount
	Unmount
	Disk
)

const (
	KernelLog byte = 0x50 + iota
	Account
	Watch
	Identity
	Services
	Service
	Look
	IdentityResult
)

const (
	execShort = "timeout:4 cmd:p4/n"
	execLong  = "timeout:4 flags:1&0x1 cmd:p4/n"
	watchLong = "timeout:4 flags:1&0x3 cmd:p4/n"
	execEnv   = " env:4/count{ key:k4 value:p4 }"
	fileInfo  = "mode:4 uid:4 gid:4 nlink:4 bytes:8 mtime:-8 inode:8 rdev:8 name:p2 target:p2"
)

// A Message is a kind of message. Its layout is a list of fields:
//
//	name:4          a number of 4 bytes; -4 is a signed one
//	name:t2         a text with a count of 2 bytes
//	name:p2         the same without a NUL; n2 has at least one byte too, and k2 no = either
//	name:*          the rest of the payload
//	name:4{ … }     a count of 4 bytes, and what is in the braces that many times
//	?name&0x20      what follows is there if the field has that bit
//	a | b           the first layout that fits the payload's length exactly
//
// A size may be followed by =1..2, the range of a number, and by &0x3, the bits that it may have.
// It may be followed by /n, the name of the count of a text or list. Without it, the count has the
// name of the field with len behind it.
type Message struct {
	Type   byte
	Way    string // G: a guest sends it; H: a host does; GH: both do
	Name   string
	layout string
	forms  [][]item
}

// Messages are all kinds of messages.
var Messages = []*Message{
	{Type: Ready, Way: "G", Name: "ready", layout: "payload:*"},
	{Type: Ping, Way: "H", Name: "ping", layout: "payload:*"},
	{Type: Pong, Way: "G", Name: "pong", layout: "payload:*"},
	{Type: Exec, Way: "H", Name: "exec", layout: execShort + "|" + execLong + "|" +
		execLong + execEnv},
	{Type: ExecResult, Way: "G", Name: "exec_result", layout: "code:-4 stdout:t4 stderr:t4"},
	{Type: WriteFile, Way: "H", Name: "write_file", layout: "path:p2 flags:1&0x3 content:t4/n"},
	{Type: WriteFileResult, Way: "G", Name: "write_file_result", layout: "success:1=0..1 error:t2"},
	{Type: SpawnWatch, Way: "H", Name: "spawn_watch", layout: execShort + "|" + watchLong +
		"|" + watchLong + execEnv + "|" + watchLong + execEnv + " log:n2"},
	{Type: SpawnWatchResult, Way: "G", Name: "spawn_watch_result", layout: "pid:4"},
	{Type: ProcessExit, Way: "G", Name: "process_exit", layout: "" +
		"pid:4 code:-4 stdout:t4 stderr:t4"},
	{Type: Shutdown, Way: "H", Name: "shutdown", layout: "payload:*"},
	{Type: ShutdownAck, Way: "G", Name: "shutdown_ack", layout: "payload:*"},
	{Type: StdoutChunk, Way: "G", Name: "stdout_chunk", layout: "pid:4 data:*"},
	{Type: Error, Way: "GH", Name: "error", layout: "message:t2"},

	{Type: Hello, Way: "H", Name: "hello", layout: "version:2"},
	{Type: HelloResult, Way: "G", Name: "hello_result", layout: "" +
		"version:2 features:4 epoch:8 facts:2{ name:t1 value:t2 }"},
	{Type: Start, Way: "H", Name: "start", layout: "" +
		"id:8=1.. flags:1 timeout:4 keep:4 credit:4 errcredit:4 cap:8 rows:2 columns:2 " +
		"user:p2 dir:p2 args:4/argc{ arg:p4 } env:4/envc{ key:k4 value:p4 } " +
		"limits:1{ resource:1 soft:8 hard:8 } " +
		"?flags&0x20 wait:4 iflag:4 oflag:4 lflag:4 cc:t1 ?flags&0x40 confine:t4"},
	{Type: Started, Way: "G", Name: "started", layout: "pid:4 taken:8 credit:4"},
	{Type: Attach, Way: "H", Name: "attach", layout: "id:8=1.. out:8 err:8 credit:4 errcredit:4"},
	{Type: Input, Way: "H", Name: "input", layout: "data:*"},
	{Type: Output, Way: "G", Name: "output", layout: "stream:1=1..2 data:*"},
	{Type: Close, Way: "GH", Name: "close", layout: "stream:1=0..2"},
	{Type: Credit, Way: "GH", Name: "credit", layout: "stream:1=0..2 bytes:4"},
	{Type: Resize, Way: "H", Name: "resize", layout: "rows:2 columns:2"},
	{Type: Signal, Way: "H", Name: "signal", layout: "id:8 pid:4 signal:1 scope:1"},
	{Type: Exited, Way: "G", Name: "exited", layout: "" +
		"reason:1 signal:1 stage:1 flags:1&0xf code:-4 errno:4 user:8 system:8 elapsed:8 peak:8 " +
		"out:8 err:8 outdropped:8 errdropped:8 left:4 killed:4 message:t2 " +
		"?flags&0x8 read:8 written:8 reads:8 writes:8"},
	{Type: Release, Way: "H", Name: "release", layout: "payload:*"},
	{Type: Processes, Way: "H", Name: "processes", layout: "payload:*"},
	{Type: ProcessList, Way: "G", Name: "process_list", layout: "" +
		"list:4/count{ id:8 pid:4 kind:1 flags:1&0x7 age:8 cpu:8 memory:8 processes:4 " +
		"command:t2 }"},
	{Type: Done, Way: "G", Name: "done", layout: "errno:4 value:8 reason:t2"},
	{Type: Read, Way: "H", Name: "read", layout: "flags:1&0x11 offset:8 bytes:8 credit:4 path:p2"},
	{Type: Write, Way: "H", Name: "write", layout: "" +
		"flags:2&0x1ff mode:4 uid:4 gid:4 offset:8 path:p2"},
	{Type: Stat, Way: "H", Name: "stat", layout: "flags:1&0x3 path:p2"},
	{Type: StatResult, Way: "G", Name: "stat_result", layout: fileInfo},
	{Type: List, Way: "H", Name: "list", layout: "flags:1&0x61 credit:4 path:p2"},
	{Type: Change, Way: "H", Name: "change", layout: "" +
		"op:1 flags:1&0xf mode:4 uid:4 gid:4 mtime:-8 path:p2 other:t2"},
	{Type: Skip, Way: "H", Name: "skip", layout: "bytes:8"},
	{Type: Stats, Way: "H", Name: "stats", layout: "payload:*"},
	{Type: Figures, Way: "G", Name: "figures", layout: "figures:2{ name:t1 value:8 }"},
	{Type: Pressure, Way: "H", Name: "pressure", layout: "resource:1 stall:4 window:4"},
	{Type: Restore, Way: "H", Name: "restore", layout: "time:8 entropy:t2/n"},
	{Type: Freeze, Way: "H", Name: "freeze", layout: "after:4 | after:4 flags:1&0x1"},
	{Type: Thaw, Way: "H", Name: "thaw", layout: "payload:*"},
	{Type: Power, Way: "H", Name: "power", layout: "how:1 grace:4"},
	{Type: Connect, Way: "H", Name: "connect", layout: "network:1 timeout:4 credit:4 address:p2"},
	{Type: Connected, Way: "G", Name: "connected", layout: "credit:4 local:t2 remote:t2"},
	{Type: Listen, Way: "H", Name: "listen", layout: "network:1 address:p2"},
	{Type: Listening, Way: "G", Name: "listening", layout: "address:t2"},
	{Type: Incoming, Way: "G", Name: "incoming", layout: "id:8 remote:t2"},
	{Type: Accept, Way: "H", Name: "accept", layout: "id:8 credit:4"},
	{Type: Ports, Way: "H", Name: "ports", layout: "flags:1&0x1"},
	{Type: PortList, Way: "G", Name: "port_list", layout: "" +
		"ports:2/count{ network:1 port:2 pid:4 address:t2 program:t1 }"},
	{Type: Network, Way: "H", Name: "network", layout: "words:2/count{ word:p2 }"},
	{Type: NetworkShow, Way: "H", Name: "network_show", layout: "payload:*"},
	{Type: Facts, Way: "G", Name: "facts", layout: "facts:2/count{ name:t1 value:t2 }"},
	{Type: KernelLog, Way: "H", Name: "kernel_log", layout: "flags:1&0x3 credit:4"},
	{Type: Account, Way: "H", Name: "account", layout: "payload:*"},
	{Type: Mount, Way: "H", Name: "mount", layout: "wait:4 volume:p2"},
	{Type: Unmount, Way: "H", Name: "unmount", layout: "flags:1&0x1 path:p2"},
	{Type: Disk, Way: "H", Name: "disk", layout: "op:1 path:p2"},
	{Type: Watch, Way: "H", Name: "watch", layout: "flags:1&0x7 credit:4 path:p2 skip:p2"},
	{Type: Identity, Way: "H", Name: "identity", layout: "" +
		"time:8 entropy:t2/n words:2/count{ word:p2 }"},
	{Type: Services, Way: "H", Name: "services", layout: "flags:1&0x1"},
	{Type: Service, Way: "H", Name: "service", layout: "op:1 signal:1 name:p2"},
	{Type: Configure, Way: "H", Name: "configure", layout: "" +
		"text:t4 secrets:2/count{ kind:1 mode:2 owner:p2 name:p1 value:t4 }"},
	{Type: Look, Way: "H", Name: "look", layout: "" +
		"flags:1&0x1 id:8=1.. out:8 err:8 credit:4 errcredit:4"},
	{Type: IdentityResult, Way: "G", Name: "identity_result", layout: "" +
		"epoch:8 parts:2/count{ name:t1 errno:4 value:8 reason:t2 }"},
}

var byType [256]*Message

func init() {
	for _, m := range Messages {
		for form := range strings.SplitSeq(m.layout, "|") {
			words := strings.Fields(form)
			m.forms = append(m.forms, items(&words))
		}
		byType[m.Type] = m
	}
}

// ByType returns the message of a type, or nil.
func ByType(typ byte) *Message { return byType[typ] }

// ByName returns the message of that name, or nil.
func ByName(name string) *Message {
	for _, m := range Messages {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// An item is a field of a layout.
type item struct {
	name  string
	kind  byte // u, i: a number; t, p, n, k: a text; *: the rest; {: a list; ?: a condition
	size  int  // of the number or count
	count string
	least uint64
	most  uint64
	bits  uint64 // that it may have, or those of a condition
	group []item
}

// items reads a layout, to its end or a closing brace.
func items(words *[]string) (all []item) {
	for len(*words) > 0 {
		word := (*words)[0]
		*words = (*words)[1:]
		if word == "}" {
			break
		}
		all = append(all, newItem(word, words))
	}
	return all
}

func newItem(word string, words *[]string) item {
	number := func(text string) uint64 {
		n, err := strconv.ParseUint(text, 0, 64)
		if err != nil {
			panic(fmt.Sprintf("%s: %v", word, err))
		}
		return n
	}
	it := item{most: 1<<64 - 1, bits: 1<<64 - 1}
	if condition, ok := strings.CutPrefix(word, "?"); ok {
		name, bits, _ := strings.Cut(condition, "&")
		it.kind, it.name, it.bits = '?', name, number(bits)
		return it
	}
	var size string
	it.name, size, _ = strings.Cut(word, ":")
	it.count = it.name + "len"
	size, list := strings.CutSuffix(size, "{")
	if before, name, ok := strings.Cut(size, "/"); ok {
		size, it.count = before, name
	}
	if before, bits, ok := strings.Cut(size, "&"); ok {
		size, it.bits = before, number(bits)
	}
	if before, limits, ok := strings.Cut(size, "="); ok {
		least, most, _ := strings.Cut(limits, "..")
		size, it.least = before, number(least)
		if most != "" {
			it.most = number(most)
		}
	}
	it.kind = 'u'
	switch size[0] {
	case '-':
		it.kind, size = 'i', size[1:]
	case 't', 'p', 'n', 'k':
		it.kind, size = size[0], size[1:]
	case '*':
		it.kind, size = '*', "0"
	}
	it.size = int(number(size))
	if list {
		it.kind, it.group = '{', items(words)
	}
	return it
}
