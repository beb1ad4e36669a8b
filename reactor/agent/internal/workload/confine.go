package workload

import (
	"errors"

	"wick/framing"
	"wick/reactor/agent/internal/launch"
)

// confineOptions returns the options that confine the workload. They are the flags of wick exec.
func (s *Spec) confineOptions() (options []Option) {
	own := func(value string) string { return value }
	for _, o := range [...]Option{
		{Name: "cap-drop", Value: "LIST", Many: own,
			Help: "capabilities that it cannot have, or ALL; may be repeated"},
		{Name: "cap-add", Value: "LIST", Many: own,
			Help: "capabilities that it has in spite of that; may be repeated"},
		{Name: "no-new-privs", Help: "no program gains privileges when it is executed"},
		{Name: "read-only", Help: "the root file system is read-only for it"},
		{Name: "read-only-path", Value: "PATH", Many: own,
			Help: "read-only for it; may be repeated"},
		{Name: "mask", Value: "PATH", Many: own, Help: "hidden from it; may be repeated"},
		{Name: "mount-tmpfs", Value: "DIR", Many: own,
			Help: "an empty tmpfs of its own; may be repeated"},
		{Name: "root-dir", Value: "DIR", Help: "its root, with a /proc and a small /dev"},
		{Name: "pid", Value: "private|no", Help: "a pid namespace of its own"},
		{Name: "network", Value: "private|no", Help: "a network of its own, with lo alone"},
		{Name: "ipc", Value: "private|no", Help: "an IPC namespace of its own"},
		{Name: "uts", Value: "private|no", Help: "a host name of its own"},
	} {
		name := o.Name
		o.Name = "--workload-" + name
		o.Set = func(value string) error {
			if reason := s.confine.Set(name, value); reason != "" {
				return errors.New(reason)
			}
			return nil
		}
		options = append(options, o)
	}
	return append(options, Option{
		Name: "--workload-seccomp", Value: "FILE", Help: "a seccomp filter for it, in the machine",
		Set: func(value string) error { s.filter = value; return nil },
	})
}

// confined sets what confines the process of req. It reads the filter.
func (s *Spec) confined(req *framing.Start) *launch.Failure {
	o := s.confine
	o.Terminal = req.Terminal
	if s.filter != "" {
		var err error
		if o.Filter, err = launch.ReadFilter(s.filter); err != nil {
			return &launch.Failure{Stage: framing.StageSeccomp, Err: err}
		}
	}
	req.Confinement = o.Confinement()
	return nil
}
