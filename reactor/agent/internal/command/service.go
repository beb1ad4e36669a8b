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

// commandGarbage is what a command leaves, in bytes, beside a few copies of its payload.
const commandGarbage = 1 << 10

// Config is what a service is made of.
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
	// Root reports that the agent is root. Otherwise a command that asks for root goes through sudo.
	Root bool
	// Captures is how many buffers hold the first output of commands. When they are all in use, output
	// goes to its spool file at once.
	Captures int
	// Exits is the most process_exits that are kept while there is no connection to send them on. The
	// oldest is dropped.
	Exits uint32
	// Spool is the most MiB of one output that are kept on disk, and SpoolTotal of all outputs.
	Spool, SpoolTotal uint32
	// Changed is called when Busy may have another answer.
	Changed func()
}

// Service serves exec and spawn_watch.
type Service struct {
	Config
	captures *reactor.Pool
	spooled  int64 // bytes of output on disk
	commands []*command
	answers  answers
	exits    []*result // process_exits without a connection
	stopped  bool      // no process_exit is sent any more
}

// NewService returns a service that has registered its handlers. The error is a *reactor.Error.
func NewService(cfg Config) (*Service, error) {
	s := &Service{Config: cfg}
	var err error
	if s.captures, err = reactor.NewPool(cfg.Captures); err != nil {
		return nil, err
	}
	// The outputs of commands come and go, and a page of each is soon there again.
	s.captures.Warm = 0
	s.answers.service = s
	s.Table.CountUnread = s.countUnread
	s.Server.HandleParts(framing.TypeExec, s.exec)
	s.Server.HandleParts(framing.TypeSpawnWatch, s.exec)
	s.Server.OnDetach(s.detach)
	s.Server.OnRedirect(s.redirect)
	return s, nil
}

// Busy reports whether a command runs, or its result is not decided.
func (s *Service) Busy() bool { return len(s.commands) > 0 }

// Spooled returns how many bytes of output are on disk.
func (s *Service) Spooled() int64 { return s.spooled }

// Stop sends no process_exit any more.
func (s *Service) Stop() { s.stopped = true }

// Drop gives up what holds output: results that no host has taken, and commands, which run on.
func (s *Service) Drop() {
	s.stopped = true
	for _, r := range s.takeExits() {
		r.command.release()
	}
	for len(s.commands) > 0 {
		s.commands[0].abandon()
	}
}

// Close releases the buffers. It is called after Drop.
func (s *Service) Close() { s.captures.Close() }

// detach has the commands of a connection run on for no connection. Those that are not answered yet are
// answered first, if the connection is still open.
func (s *Service) detach(c *wire.Conn) {
	s.answers.detach(c)
	for _, cmd := range s.commands {
		if cmd.conn == c {
			cmd.conn = nil
		}
	}
}

// unheard returns how many commands have exited and wait for a host to take their stdout.
func (s *Service) countUnread() (n int) {
	for _, cmd := range s.commands {
		if cmd.process.HasExited() && !cmd.process.Finished() && cmd.stdout.chunks != nil {
			n++
		}
	}
	return n
}

// redirect has what waits for a host look for one again.
func (s *Service) redirect() {
	if s.stopped {
		return
	}
	for _, r := range s.takeExits() {
		s.deliver(r)
	}
	// From the end: any of them may be decided by this, and leave the list.
	for i := len(s.commands) - 1; i >= 0; i-- {
		if i < len(s.commands) && s.commands[i].stdout.chunks != nil {
			s.commands[i].stdout.chunks.queue()
		}
	}
}

// deliver sends a process_exit: on the connection that spawned the process if it is open, else on the newest
// open one. It is kept if there is none, or its host may not listen yet.
func (s *Service) deliver(r *result) {
	c := s.Server.Host(r.command.conn)
	if c == nil || !c.Greeted() {
		s.keepExit(r)
		return
	}
	r.conn = c
	c.Send(r)
}

// keepExit keeps a process_exit for the next connection.
func (s *Service) keepExit(r *result) {
	if len(s.exits) == int(s.Exits) {
		oldest := s.exits[0]
		s.exits = sys.Remove(s.exits, oldest)
		oldest.command.release()
		s.Log.Warn("process_exit dropped", "pid", sys.Num(oldest.command.process.PID()), "limit", sys.Num(s.Exits))
	}
	s.exits = append(s.exits, r)
}

// takeExits empties the list of what was kept.
func (s *Service) takeExits() []*result {
	exits := s.exits
	s.exits = nil
	return exits
}
