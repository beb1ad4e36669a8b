package workload

import (
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/sys"
)

// boxNames has the limits of the cgroup, on all processes together, and boxFiles the files of it.
var (
	boxNames = [...]string{"memory", "pids"}
	boxFiles = [...]string{"memory.max", "pids.max"}
)

// setLimit takes NAME=SOFT[:HARD], or a limit of the cgroup.
func (s *Spec) setLimit(value string) error {
	return launch.SetLimit(&s.limits, value, boxNames[:]...)
}

// boxLimits returns the limits of the cgroup.
func (s *Spec) boxLimits() (files [][2]string) {
	for _, l := range s.limits {
		if i := l.Resource - launch.FurtherLimit; i >= 0 {
			value := "max"
			if l.Soft != launch.Unlimited {
				value = sys.Decimal(int64(min(l.Soft, 1<<62)))
			}
			files = append(files, [2]string{boxFiles[i], value})
		}
	}
	return files
}
