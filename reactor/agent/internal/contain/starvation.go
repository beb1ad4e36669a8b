package contain

import (
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor"
	"wick/reactor/agent/internal/sys"
)

// stalls detects tasks that stall on memory, if the kernel reports them (CONFIG_PSI,
// Documentation/accounting/psi.rst). If any task of the machine stalls, the limit on commands is
// computed again. If all commands stall, they thrash. They are at their limit, and each page of
// their programs evicts another that they need next. The kernel always finds a page to evict then,
// so its OOM killer never fires, and commands could thrash for ever.
type stalls struct {
	short, starved stallWatch
	// spent counts the times in a row that memory was short while commands had used up theirs. last
	// is when that was so last.
	spent int
	last  time.Duration
}

// starved is the trigger for thrashing. It fires when all commands stalled on memory for 6 s of 10.
// systemd-oomd uses the same share. A machine without a processor of its own does not reach a
// higher one.
const starved = "full 6000000 10000000"

// short is the trigger for the limit. It fires when a task stalled on memory for 100 ms of 2 s.
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
	t.log.Warn("memory stalls are not monitored", "error", t.Missing.PSI)
}

const (
	// leastFiles is the page cache of commands, in bytes, below which their memory counts as used
	// up. The rest cannot be evicted, or holds the programs that they run.
	leastFiles = 2 << 20
	filesShare = 32 // the share of their limit that is used if it is less
	// spentLimit is how often in a row, each time within spentPause, that must be so until a
	// process is killed.
	spentLimit = 4
	spentPause = 5 * time.Second
)

// memoryShort is called when memory was short, at most once in 2 s. It computes the limit on
// commands again. Commands may have filled their memory with pages that cannot be evicted, such as
// files in a tmpfs. If they run only a small program, evicting and reading its pages stalls them
// too rarely to fire the trigger for thrashing. The program still makes no progress, so memoryShort
// kills a process then.
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

// stallWatch calls a function when its trigger fires.
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
	if ev&reactor.HungUp != 0 { // another program removed the cgroup
		w.Close()
		return
	}
	w.act()
}

// Failed implements [reactor.Failer]. The watch goes on.
func (w *stallWatch) Failed(value any, stack []byte) { w.pool.log.Panic("stall", value, stack) }

// killStarving kills the process with the most memory of the command with the most, as the kernel
// would. If commands are below their limit, the kernel has been quicker, and it does nothing.
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
		if n := g.memory(); n > most {
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
		// The second number is the resident size.
		_, rest, _ := sys.TakeNumber(sys.ReadText("/proc/"+sys.Num(pid)+"/statm", buf[:]))
		if n, _, _ := sys.TakeNumber(rest); n > pages {
			victim, pages = pid, n
		}
	})
	if victim == 0 {
		return
	}
	t.starvedVictim(largest, victim, pages)
	if unix.Kill(victim, unix.SIGKILL) != nil {
		return
	}
	largest.starved++
	t.log.Warn("process killed, commands stalled on memory", "pid", sys.Num(victim))
}
