package configure

import (
	"errors"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/log"
	"wick/reactor/agent/internal/sys"
	"wick/reactor/agent/internal/wire"
)

// Features are the parts of the extension that a [Service] serves.
const Features = framing.FeatureConfigure

const (
	// maxFaults limits the faults in an answer. A last one counts the others.
	maxFaults = 64
	// requestGarbage is how much heap garbage a configure makes, in bytes, besides that of
	// its text.
	requestGarbage = 4 << 10
)

// Config has the parts of the agent that a Service uses. The caller keeps them.
type Config struct {
	Log     *log.Log
	Garbage *sys.Garbage
	Server  *wire.Server
	// Env gets the secrets that are entries of the environment.
	Env *launch.Env
	// Root reports whether the agent is root, and so may give files to any user.
	Root bool
	// Apply sets the options of a text, and reports each line that is wrong.
	Apply func(text []byte, wrong func(line int, reason string))
	// Done is called after each configure. complete reports that nothing in it was wrong, and
	// that it was not about secrets alone.
	Done func(complete bool)
}

// Service serves configure, and holds the secrets.
type Service struct {
	Config
	entries entries
	files   files
}

// NewService registers the handler.
func NewService(cfg Config) *Service {
	s := &Service{Config: cfg}
	s.files.dir = -1
	s.Server.HandleParts(framing.TypeConfigure, s.parts)
	return s
}

// parts handles a part of a configure, and clears it.
func (s *Service) parts(c *wire.Conn, p *framing.Part) (err error) {
	seq := p.Seq
	switch {
	case p.First() && p.Last():
		err = s.configure(c, seq, p.Data)
	case p.Size > wire.MaxGathered:
		if p.Last() {
			err = errLong
		}
	default:
		c.Gather(p, func(payload []byte) {
			if payload == nil {
				err = sys.NewError("mmap", "configure", unix.ENOMEM)
				return
			}
			err = s.configure(c, seq, payload)
			clear(payload)
		})
	}
	clear(p.Data)
	reactor.ClearRegisters()
	return err
}

var errLong = errors.New("configure: payload is long")

// faults are what was wrong with a configure.
type faults struct {
	facts framing.Facts
	more  int
}

func (f *faults) add(name, reason string) {
	if f.facts.Len() == maxFaults {
		f.more++
		return
	}
	f.facts.Add(name, sys.Clip(reason, wire.MaxText))
}

// configure handles a whole payload.
func (s *Service) configure(c *wire.Conn, seq uint32, payload []byte) error {
	text, secrets, err := framing.ParseConfigure(payload)
	if err != nil {
		return err
	}
	c.Heavy()
	s.Garbage.Collect(requestGarbage + 4*len(text))
	var f faults
	// Secrets come first, because the options may start the workload.
	for secret := range secrets.All {
		if err := s.set(secret); err != nil {
			f.add("secret."+string(secret.Name), err.Error())
		}
	}
	s.Env.Secrets = s.entries.texts
	s.Apply(text, func(line int, reason string) { f.add("line."+sys.Num(line), reason) })
	if f.more > 0 {
		f.facts.Add("more", sys.Num(f.more))
	}
	wrong := f.facts.Len()
	s.Log.Info("configured", "conn", sys.Num(c.ID()), "secrets", sys.Num(secrets.Len()),
		"wrong", sys.Num(wrong+max(f.more-1, 0)))
	c.ReplyLater(framing.AppendFacts(nil, seq, f.facts))
	s.Done(wrong == 0 && (len(text) > 0 || secrets.Len() == 0))
	return nil
}

// set sets or removes a secret.
func (s *Service) set(secret *framing.Secret) error {
	name := string(secret.Name)
	switch secret.Kind {
	case framing.SecretRemove:
		s.entries.remove(name)
		return s.files.remove(name)
	case framing.SecretEnv:
		return s.entries.set(secret)
	case framing.SecretFile:
		acc, err := launch.FindAccount(string(secret.Owner), s.Root)
		if err != nil {
			return err
		}
		f := file{name: name, mode: uint32(secret.Mode), uid: unix.Geteuid(), gid: unix.Getegid()}
		if acc.User != nil {
			f.uid, f.gid = int(acc.User.UID), int(acc.User.GID)
		}
		return s.files.set(&f, secret.Value)
	}
	return errors.New("unknown kind " + sys.Num(secret.Kind))
}

// Forget forgets all secrets. Processes that run keep their environment.
func (s *Service) Forget() {
	s.Env.Secrets = nil
	for len(s.entries.texts) > 0 {
		s.entries.drop(0)
	}
	s.files.close()
}

// AddFacts adds the names of the secrets.
func (s *Service) AddFacts(f *framing.Facts) {
	for _, text := range s.entries.texts {
		name, _, _ := sys.Cut(text, '=')
		f.Add("secret.env."+name, "")
	}
	for i := range s.files.list {
		file := &s.files.list[i]
		f.Add("secret.file."+file.name, octal(file.mode)+" "+sys.Num(file.uid)+":"+sys.Num(file.gid))
	}
}

// octal returns permission bits as "0400".
func octal(mode uint32) string {
	return string([]byte{'0', '0' + byte(mode>>6&7), '0' + byte(mode>>3&7), '0' + byte(mode&7)})
}
