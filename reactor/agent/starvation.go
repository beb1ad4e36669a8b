package agent

import (
	"golang.org/x/sys/unix"

	"wick/reactor"
)

// starvation is the commands' having all the memory that they may have, so that they do nothing but wait for pages of their own programs,
// each of which takes the place of the next that they need. The kernel kills nobody, for it always finds a page to throw out, and that
// can go on for ever. It tells of it, though, if it was built to (CONFIG_PSI): Documentation/accounting/psi.rst.
type starvation struct {
	reactor.Descriptor
	agent *Agent
	retry reactor.Timer // to watch it
}

// starved is when: none of them got on for 6 s of 10, because all that could waited for memory. It is systemd-oomd's share, and a machine whose
// processor is others' too shows less than it is.
const starved = "full 6000000 10000000"

// open watches the cgroup that all commands are in, if there is one.
func (s *starvation) open(a *Agent) {
	if !a.contain.memory {
		return
	}
	fd, err := openTrigger(a.contain.path+"/memory.pressure", starved)
	if err != nil {
		a.log.Info("not told when commands stand still for want of memory", "error", err.Error())
		return
	}
	s.agent = a
	a.loop.Attach(&s.Descriptor, fd, s)
	s.Want(reactor.Exception)
}

// Ready implements [reactor.Handler].
func (s *starvation) Ready(ev reactor.Events) {
	switch {
	case ev&reactor.Deaf != 0:
		s.agent.loop.Start(&s.retry, deafPause, s)
	case ev&reactor.HungUp != 0: // somebody removed the cgroup
		s.Close()
	default:
		s.kill()
	}
}

// Expired implements [reactor.TimerHandler]: epoll is asked again.
func (s *starvation) Expired(*reactor.Timer) { s.Want(reactor.Exception) }

// Failed implements [reactor.Failer]: the watch goes on.
func (s *starvation) Failed(value any, stack []byte) { s.agent.logPanic("starvation", value, stack) }

// kill kills one process, as the kernel would: that which has the most memory, of the command that has the most. If there is memory by now
// the kernel was quicker.
func (s *starvation) kill() {
	a := s.agent
	a.reserve.open()
	defer a.reserve.fill()
	limit := readNumber(unix.AT_FDCWD, a.contain.path+"/memory.max")
	if readNumber(unix.AT_FDCWD, a.contain.path+"/memory.current") < limit-limit/8 {
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
		_, rest, _ := takeNumber(readText("/proc/"+num(pid)+"/statm", buf[:])) // the size; the second is what of it is in memory
		if n, _, _ := takeNumber(rest); n > pages {
			victim, pages = pid, n
		}
	})
	if victim == 0 || unix.Kill(victim, unix.SIGKILL) != nil {
		return
	}
	largest.starved++
	a.log.Warn("process killed, because commands stood still for want of memory", "pid", num(victim))
}

func (s *starvation) close() {
	s.retry.Stop()
	s.Close()
}
