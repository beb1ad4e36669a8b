package agent

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
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
	reason         string // why not both
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
func (s *stalls) open(a *Agent) {
	machine := pressureFiles[framing.PressureMemory]
	var err error
	if a.contain.memory {
		err = s.short.open(a, machine, short, (*Agent).memoryShort)
		commands := a.contain.path + "/memory.pressure"
		if starving := s.starved.open(a, commands, starved, (*Agent).killStarving); starving != nil {
			err = starving
		}
	} else {
		err = sys.Wrap("find", machine, unix.Access(machine, unix.F_OK))
	}
	if err == nil {
		return
	}
	s.reason = err.Error()
	if sys.IsErrno(err, unix.ENOENT) || sys.IsErrno(err, unix.EOPNOTSUPP) {
		s.reason += "; a kernel with CONFIG_PSI may need psi=1 on its command line"
	}
	a.log.Warn("not told when commands wait for memory", "error", s.reason)
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
func (a *Agent) memoryShort() {
	s, c := &a.stalls, &a.contain
	a.limitMemory()
	now := reactor.Now()
	if c.used+limitSlack < c.limit || c.files > min(leastFiles, c.limit/filesShare) {
		s.spent = 0
		return
	}
	if now-s.last > spentPause {
		s.spent = 0
	}
	s.last = now
	if s.spent++; s.spent == spentLimit {
		s.spent = 0
		a.killStarving()
	}
}

func (s *stalls) close() {
	s.short.close()
	s.starved.close()
}

// stallWatch calls a function when a trigger fires that [openTrigger] set.
type stallWatch struct {
	reactor.Descriptor
	agent *Agent
	act   func(*Agent)
	retry reactor.Timer // to watch it
}

func (w *stallWatch) open(a *Agent, path, trigger string, act func(*Agent)) error {
	fd, err := sys.OpenTrigger(path, trigger)
	if err != nil {
		return err
	}
	w.agent, w.act = a, act
	a.loop.Attach(&w.Descriptor, fd, w)
	w.Want(reactor.Exception)
	return nil
}

// Ready implements [reactor.Handler].
func (w *stallWatch) Ready(ev reactor.Events) {
	switch {
	case ev&reactor.Deaf != 0:
		w.agent.loop.Start(&w.retry, deafPause, w)
	case ev&reactor.HungUp != 0: // somebody removed the cgroup
		w.Close()
	default:
		w.act(w.agent)
	}
}

// Expired implements [reactor.TimerHandler]: epoll is asked again.
func (w *stallWatch) Expired(*reactor.Timer) { w.Want(reactor.Exception) }

// Failed implements [reactor.Failer]: the watch goes on.
func (w *stallWatch) Failed(value any, stack []byte) { w.agent.log.Panic("stall", value, stack) }

func (w *stallWatch) close() {
	w.retry.Stop()
	w.Close()
}

// killStarving kills the process with the most memory, of the command with the most, as the kernel
// would. It does nothing if commands are not at their limit, because then the kernel was quicker.
func (a *Agent) killStarving() {
	a.limitMemory()
	a.reserve.open()
	defer a.reserve.fill()
	limit := sys.ReadNumber(unix.AT_FDCWD, a.contain.path+"/memory.max")
	if sys.ReadNumber(unix.AT_FDCWD, a.contain.path+"/memory.current") < limit-limit/8 {
		return
	}
	var largest *cgroup
	var most uint64
	consider := func(g *cgroup) {
		if g == nil {
			return
		}
		if n := g.number("memory.current"); n > most {
			largest, most = g, n
		}
	}
	for _, p := range a.running {
		consider(p.cgroup)
	}
	for _, g := range a.contain.left {
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
	a.log.Warn("process killed, because commands stood still for want of memory", "pid", sys.Num(victim))
}
