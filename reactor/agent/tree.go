package agent

import (
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// stopRounds bounds how often the tree of a command is looked through for processes that were not there before.
const stopRounds = 8

// killTree kills a command: its process group, what else is in its session, and every descendant, whatever group or session
// it moved to. Those that it can find are stopped first, again until no new one turns up, so that none forks while it is looked for;
// killed at once, a process would hand its children to init, and their origin would be lost.
func killTree(leader int) {
	if leader == 0 {
		return
	}
	unix.Kill(-leader, unix.SIGSTOP)
	found := []int{leader}
	for range stopRounds {
		before := len(found)
		found = descendants(leader, found)
		for _, pid := range found[before:] {
			unix.Kill(pid, unix.SIGSTOP)
		}
		if len(found) == before {
			break
		}
	}
	unix.Kill(-leader, unix.SIGKILL)
	for _, pid := range found {
		unix.Kill(pid, unix.SIGKILL)
	}
}

// descendants adds to found what belongs to the leader according to /proc, and is not in it yet.
func descendants(leader int, found []int) []int {
	procs := processes()
	for grew := true; grew; {
		grew = false
		for _, p := range procs {
			if slices.Contains(found, p.pid) {
				continue
			}
			if p.group == leader || p.session == leader || slices.Contains(found, p.parent) {
				found = append(found, p.pid)
				grew = true
			}
		}
	}
	return found
}

type process struct{ pid, parent, group, session int }

// processes reads /proc; none if it is not mounted.
func processes() []process {
	dir, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(dir)
	var procs []process
	buf := make([]byte, 4<<10)
	for {
		n, err := unix.ReadDirent(dir, buf)
		if err != nil || n <= 0 {
			return procs
		}
		_, _, names := unix.ParseDirent(buf[:n], -1, nil)
		for _, name := range names {
			if pid, err := strconv.Atoi(name); err == nil {
				if p, ok := readStat(pid); ok {
					procs = append(procs, p)
				}
			}
		}
	}
}

// readStat reads /proc/PID/stat; proc_pid_stat(5).
func readStat(pid int) (process, bool) {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return process{}, false
	}
	defer unix.Close(fd)
	var buf [512]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return process{}, false
	}
	// The name, in parentheses, may hold anything; what follows its last one does not.
	stat := string(buf[:n])
	_, rest, _ := strings.Cut(stat[strings.LastIndexByte(stat, ')')+1:], " ")
	_, rest, _ = strings.Cut(rest, " ") // the state
	p := process{pid: pid}
	for _, field := range []*int{&p.parent, &p.group, &p.session} {
		var text string
		text, rest, _ = strings.Cut(rest, " ")
		if *field, err = strconv.Atoi(text); err != nil {
			return process{}, false
		}
	}
	return p, true
}
