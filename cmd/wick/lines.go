package main

import (
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"wick/framing/client"
)

// The lines of --json. Names of fields are never changed or removed. A template of --format has the
// names of Go.

// processLine is a command of wick ps and wick top. Times are in seconds, and memory in bytes; 0 is
// unknown.
type processLine struct {
	ID        string  `json:"id"`
	PID       uint32  `json:"pid"`
	State     string  `json:"state"`
	Terminal  bool    `json:"terminal"`
	Age       float64 `json:"age"`
	CPU       float64 `json:"cpu"`
	Memory    uint64  `json:"memory"`
	Processes int     `json:"processes"`
	Command   string  `json:"command"`
}

func processLines(list []client.Process) []processLine {
	lines := make([]processLine, len(list))
	for i, p := range list {
		id := ""
		if p.ID != 0 {
			id = fmt.Sprintf("%016x", p.ID)
		}
		q := p
		q.Terminal = false
		lines[i] = processLine{id, p.PID, processState(&q), p.Terminal, p.Age.Seconds(), p.CPU.Seconds(), p.Memory, p.Processes, p.Command}
	}
	return lines
}

// topLine is a sample of wick top.
type topLine struct {
	Uptime          float64       `json:"uptime"`
	Load            [3]float64    `json:"load"`
	MemoryTotal     uint64        `json:"memory_total"`
	MemoryAvailable uint64        `json:"memory_available"`
	DiskTotal       uint64        `json:"disk_total"`
	DiskFree        uint64        `json:"disk_free"`
	Processes       uint64        `json:"processes"`
	Commands        []processLine `json:"commands"`
}

func newTopLine(s *client.Stats, list []client.Process) topLine {
	l := topLine{Uptime: s.Uptime().Seconds(), Processes: uint64(s.Processes()), Commands: processLines(list)}
	l.Load[0], l.Load[1], l.Load[2] = s.Load()
	l.MemoryTotal, l.MemoryAvailable = s.Memory()
	l.DiskTotal, l.DiskFree = s.Disk()
	return l
}

// fileLine is a file of wick ls and wick stat. Mode is octal, with the set-ID and sticky bits.
type fileLine struct {
	Path     string    `json:"path"`
	Name     string    `json:"name"`
	Type     string    `json:"type"`
	Mode     string    `json:"mode"`
	UID      uint32    `json:"uid"`
	GID      uint32    `json:"gid"`
	Size     int64     `json:"size"`
	Links    uint64    `json:"links"`
	Inode    uint64    `json:"inode"`
	Modified time.Time `json:"modified"`
	Target   string    `json:"target,omitempty"`
	Device   string    `json:"device,omitempty"`
}

func newFileLine(path string, i *client.FileInfo) fileLine {
	l := fileLine{
		Path: path, Name: i.Name(), Type: fileType(i.Mode()), Mode: fmt.Sprintf("%04o", modeBits(i.Mode())),
		UID: i.UID(), GID: i.GID(), Size: i.Size(), Links: uint64(i.Links()), Inode: i.Inode(), Modified: i.ModTime().UTC(),
	}
	if i.Mode()&fs.ModeSymlink != 0 {
		l.Target = i.Target()
	}
	if i.Mode()&fs.ModeDevice != 0 {
		major, minor := i.Device()
		l.Device = fmt.Sprintf("%d,%d", major, minor)
	}
	return l
}

// fileType returns the word for the type of a file.
func fileType(mode fs.FileMode) string {
	for _, t := range []struct {
		bit  fs.FileMode
		word string
	}{{fs.ModeDir, "dir"}, {fs.ModeSymlink, "symlink"}, {fs.ModeCharDevice, "char"}, {fs.ModeDevice, "block"}, {fs.ModeNamedPipe, "fifo"}, {fs.ModeSocket, "socket"}} {
		if mode&t.bit != 0 {
			return t.word
		}
	}
	return "file"
}

// modeBits returns the bits of a mode that chmod(1) takes.
func modeBits(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for _, special := range []struct {
		bit   fs.FileMode
		value uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if mode&special.bit != 0 {
			bits |= special.value
		}
	}
	return bits
}

// portEntry is a port of wick ports. Event is open or closed, with --watch.
type portEntry struct {
	Event   string         `json:"event,omitempty"`
	Address netip.AddrPort `json:"address"`
	Port    uint16         `json:"port"`
	PID     uint32         `json:"pid,omitempty"`
	Program string         `json:"program,omitempty"`
}

func newPortEntry(event string, p *client.Port) portEntry {
	return portEntry{event, p.Addr, p.Addr.Port(), p.PID, p.Program}
}

// serviceLine is a service of wick services.
type serviceLine struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Waits    string `json:"waits,omitempty"`
	PID      uint32 `json:"pid,omitempty"`
	Restarts int    `json:"restarts"`
	Code     *int   `json:"code,omitempty"`
	Error    string `json:"error,omitempty"`
	Status   string `json:"status,omitempty"`
}

func serviceLines(list []client.Service) []serviceLine {
	lines := make([]serviceLine, len(list))
	for i := range list {
		s := &list[i]
		lines[i] = serviceLine{s.Name, s.State, s.Waits, s.PID, s.Restarts, nil, s.Error, s.Status}
		if s.Ended {
			lines[i].Code = &s.Code
		}
	}
	return lines
}
