package command

import (
	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// commandGarbage is how much heap garbage a command makes, in bytes, besides its own memory and
// copies of its payload.
const commandGarbage = 128

// Config has the parts of the agent that a Service uses. The caller keeps them.
type Config struct {
	Loop    *reactor.Loop
	Log     *log.Log
	Garbage *sys.Garbage
	Server  *wire.Server
	Table   *launch.Table
	Env     *launch.Env
	Disk    *files.Disk
	// Null is a descriptor of /dev/null, the stdin of commands.
	Null int
	// Root reports whether the agent is root. If not, a command that asks for root goes through
	// sudo.
	Root bool
	// Captures is the number of buffers for the start of outputs. If all are in use, output goes to
	// its spool file at once.
	Captures int
	// Exits is the most process_exits kept while no host is connected. Beyond it the oldest is
	// dropped.
	Exits uint32
	// Spool limits one output on disk, and SpoolTotal all of them, in MiB.
	Spool, SpoolTotal uint32
	// Changed is called when Busy may answer differently.
	Changed func()
}

// Service serves exec and spawn_watch.
type Service struct {
	Config
	captures *reactor.Pool
	spooled  int64 // bytes of output on disk
	commands []*command
	spares   []*command // for newCommand
	answers  answers
	exits    []*result // process_exits that wait for a host
	stopped  bool      // process_exits are no longer sent
}

// NewService registers the handlers. The error is a *reactor.Error.
func NewService(cfg Config) (*Service, error) {
	s := &Service{Config: cfg}
	var err error
	if s.captures, err = reactor.NewPool(cfg.Captures); err != nil {
		return nil, err
	}
	// A free buffer keeps no memory, because the next output faults a page in quickly.
	s.captures.Warm = 0
	s.answers.service = s
	s.Table.CountUnread = s.countUnread
	s.Server.HandleParts(framing.TypeExec, s.exec)
	s.Server.HandleParts(framing.TypeSpawnWatch, s.exec)
	s.Server.OnDetach(s.detach)
	s.Server.OnRedirect(s.redirect)
	return s, nil
}

// Busy reports whether a command runs, or its result is not made.
func (s *Service) Busy() bool { return len(s.commands) > 0 }

// Spooled returns how many bytes of output are on disk.
func (s *Service) Spooled() int64 { return s.spooled }

// Held returns what the service holds: commands that run or whose result is not decided,
// process_exits that wait for a host, and buffers of output.
func (s *Service) Held() (commands, exits, buffers int) {
	return len(s.commands), len(s.exits), s.Captures - s.captures.Free()
}

// Stop stops sending process_exits.
func (s *Service) Stop() { s.stopped = true }

// Drop releases all kept output: unsent process_exits, and commands, which run on.
func (s *Service) Drop() {
	s.stopped = true
	for _, r := range s.takeExits() {
		r.command.release()
	}
	for len(s.commands) > 0 {
		s.commands[0].abandon()
	}
}

// Close releases the buffers. Call it after Drop.
func (s *Service) Close() { s.captures.Close() }

// detach lets the commands of a connection run on without it. If c is still open, it sends the
// answers that are due first.
func (s *Service) detach(c *wire.Conn) {
	s.answers.detach(c)
	for _, cmd := range s.commands {
		if cmd.conn == c {
			cmd.conn = nil
		}
	}
}

// countUnread returns how many commands have exited and wait for a host to take their stdout.
func (s *Service) countUnread() (n int) {
	for _, cmd := range s.commands {
		if cmd.process.HasExited() && !cmd.process.Finished() && cmd.stdout.chunks != nil {
			n++
		}
	}
	return n
}

// redirect offers what waits for a host to the host that there is now.
func (s *Service) redirect() {
	if s.stopped {
		return
	}
	for _, r := range s.takeExits() {
		s.deliver(r)
	}
	// From the end, because queue may finish commands, which takes them off the list.
	for i := len(s.commands) - 1; i >= 0; i-- {
		if i < len(s.commands) && s.commands[i].stdout.chunks != nil {
			s.commands[i].stdout.chunks.queue()
		}
	}
}

// deliver sends a process_exit on the connection that spawned the process if it is open, else on
// the newest open one. It keeps the result if there is no host, or the host may not listen yet.
func (s *Service) deliver(r *result) {
	c := s.Server.Host(r.command.conn)
	if c == nil || !c.Greeted() {
		s.keepExit(r)
		return
	}
	r.conn = c
	c.Send(r)
}

// keepExit keeps a process_exit for the next host.
func (s *Service) keepExit(r *result) {
	for len(s.exits) >= int(s.Exits) { // a host may have lowered the limit
		oldest := s.exits[0]
		s.exits = sys.Remove(s.exits, oldest)
		oldest.command.release()
		s.Log.Warn("process_exit dropped", "pid", sys.Num(oldest.command.process.PID()),
			"limit", sys.Num(s.Exits))
	}
	s.exits = append(s.exits, r)
}

// takeExits returns the kept process_exits and empties the list.
func (s *Service) takeExits() []*result {
	exits := s.exits
	s.exits = nil
	return exits
}
