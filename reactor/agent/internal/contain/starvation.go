package contain

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// stalls hears from the kernel of tasks that wait for memory, if the kernel was built to tell it
// (CONFIG_PSI, Documentation/accounting/psi.rst). If any task of the machine waits, the limit on
// commands is computed again. If all commands wait, they thrash: they are at their limit, and each
// page of their programs takes the place of the next one that they need. The kernel always finds a
// page to evict then, so its OOM killer never fires, and that can go on for ever.
type stalls struct {
	short, starved stallWatch
	// spent counts the times in a row that memory was short and commands had spent all of theirs;
	// the newest of them was at last.
	spent int
	last  time.Duration
}

// starved is the trigger for thrashing: no command got on for 6 s of 10, because all of them waited
// for memory. The share is systemd-oomd's. A higher one is not reached in a machine that others take
// the processor from.
const starved = "full 6000000 10000000"

// short is the trigger for the limit: some task waited for memory for 100 ms of 2 s.
const short = "some 100000 2000000"

// open watches the machine and the cgroup of all commands, if their memory is limited.
func (s *stalls) open(t *Pool) {
	const machine = "/proc/pressure/memory"
	var err error
	if t.memory {
		err = s.short.open(t, machine, short, t.memoryShort)
		commands := t.path + "/memory.pressure"
		if starving := s.starved.open(t, commands, starved, t.killStarving); starving != nil {
			err = starving
		}
	} else {
		err = sys.Wrap("find", machine, unix.Access(machine, unix.F_OK))
	}
	if err == nil {
		return
	}
	t.Missing.PSI = err.Error()
	if sys.IsErrno(err, unix.ENOENT) || sys.IsErrno(err, unix.EOPNOTSUPP) {
		t.Missing.PSI += "; a kernel with CONFIG_PSI may need psi=1 on its command line"
	}
	t.log.Warn("not told when commands wait for memory", "error", t.Missing.PSI)
}

const (
	// leastFiles is the page cache of commands, in bytes, below which they have spent their memory:
	// what else they have cannot be evicted, and the rest is the programs that they run.
	leastFiles = 2 << 20
	filesShare = 32 // of their limit, if that is less
	// spentLimit is how often in a row, each time within spentPause, memory is short in that state
	// until a process is killed.
	spentLimit = 4
	spentPause = 5 * time.Second
)

// memoryShort is called when memory was short, at most once in 2 s. It computes the limit on commands
// again. If they have filled it with what cannot be evicted, such as files in a tmpfs, then to evict
// and read again the pages of one small program need not stall them for most of the time, and the
// trigger for thrashing does not fire, but the program does not get on.
func (t *Pool) memoryShort() {
	s := &t.stalls
	t.LimitMemory()
	now := reactor.Now()
	if t.used+limitSlack < t.limit || t.files > min(leastFiles, t.limit/filesShare) {
		s.spent = 0
		return
	}
	if now-s.last > spentPause {
		s.spent = 0
	}
	s.last = now
	if s.spent++; s.spent == spentLimit {
		s.spent = 0
		t.killStarving()
	}
}

func (s *stalls) close() {
	s.short.Close()
	s.starved.Close()
}

// stallWatch calls a function when a trigger fires that [openTrigger] set.
type stallWatch struct {
	reactor.Descriptor
	pool *Pool
	act  func()
}

func (w *stallWatch) open(t *Pool, path, trigger string, act func()) error {
	fd, err := sys.OpenTrigger(path, trigger)
	if err != nil {
		return err
	}
	w.pool, w.act = t, act
	t.loop.Attach(&w.Descriptor, fd, w)
	w.Want(reactor.Exception)
	return nil
}

// Ready implements [reactor.Handler].
func (w *stallWatch) Ready(ev reactor.Events) {
	if ev&reactor.HungUp != 0 { // somebody removed the cgroup
		w.Close()
		return
	}
	w.act()
}

// Failed implements [reactor.Failer]: the watch goes on.
func (w *stallWatch) Failed(value any, stack []byte) { w.pool.log.Panic("stall", value, stack) }

// killStarving kills the process with the most memory, of the command with the most, as the kernel
// would. It does nothing if commands are not at their limit, because then the kernel was quicker.
func (t *Pool) killStarving() {
	t.LimitMemory()
	t.reserve.open()
	defer t.reserve.fill()
	limit := sys.ReadNumber(unix.AT_FDCWD, t.path+"/memory.max")
	if sys.ReadNumber(unix.AT_FDCWD, t.path+"/memory.current") < limit-limit/8 {
		return
	}
	var largest *Box
	var most uint64
	consider := func(g *Box) {
		if g == nil {
			return
		}
		if n := g.number("memory.current"); n > most {
			largest, most = g, n
		}
	}
	t.boxes(consider)
	for _, g := range t.left {
		consider(g)
	}
	if largest == nil {
		return
	}
	victim, pages := 0, uint64(0)
	largest.each(func(pid int) {
		var buf [128]byte
		_, rest, _ := sys.TakeNumber(sys.ReadText("/proc/"+sys.Num(pid)+"/statm", buf[:])) // the size; the second is what of it is in memory
		if n, _, _ := sys.TakeNumber(rest); n > pages {
			victim, pages = pid, n
		}
	})
	if victim == 0 || unix.Kill(victim, unix.SIGKILL) != nil {
		return
	}
	largest.starved++
	t.log.Warn("process killed, because commands stood still for want of memory", "pid", sys.Num(victim))
}
