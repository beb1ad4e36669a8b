package agent

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor"
)

// startPlan is what a stage is to do: its arguments, in the order in which it does it.
//
//	program start-with-limits resource:soft:hard,… uid:gid:group,… dir path args…
type startPlan struct {
	limits []framing.Limit
	user   *reactor.User
	dir    string
	path   string
	args   []string
}

// hidden is an environment in which no name is what it was. Go's runtime would take GODEBUG and others for the stage's own, and write to the
// process's stderr. As arguments they could be read by everybody.
func hidden(env []string) []string {
	other := make([]string, len(env))
	for i, entry := range env {
		other[i] = "-" + entry
	}
	return other
}

// shown is the environment that was hidden.
func shown(env []string) []string {
	for i, entry := range env {
		env[i] = entry[1:]
	}
	return env
}

// encode is the plan as the arguments of the program that carries it out.
func (p *startPlan) encode(program []string) []string {
	var limits, user []byte
	for i, l := range p.limits {
		if i > 0 {
			limits = append(limits, ',')
		}
		limits = appendDecimal(append(appendDecimal(append(appendDecimal(limits, uint64(l.Resource)), ':'), l.Soft), ':'), l.Hard)
	}
	if u := p.user; u != nil {
		user = appendDecimal(append(appendDecimal(user, uint64(u.UID)), ':'), uint64(u.GID))
		for i, g := range u.Groups {
			user = appendDecimal(append(user, ":,"[min(i, 1)]), uint64(g))
		}
	}
	all := append(append([]string{}, program...), string(limits), string(user), p.dir, p.path)
	return append(all, p.args...)
}

// decode reads what follows the program and its name.
func (p *startPlan) decode(args []string) bool {
	if len(args) < 5 {
		return false
	}
	for rest, more := args[0], args[0] != ""; more; {
		var one, resource, soft, hard string
		one, rest, more = cut(rest, ',')
		resource, one, _ = cut(one, ':')
		soft, hard, _ = cut(one, ':')
		p.limits = append(p.limits, framing.Limit{Resource: uint8(planned(resource)), Soft: planned(soft), Hard: planned(hard)})
	}
	if args[1] != "" {
		uid, rest, _ := cut(args[1], ':')
		gid, groups, more := cut(rest, ':')
		p.user = &reactor.User{UID: uint32(planned(uid)), GID: uint32(planned(gid))}
		for more {
			var group string
			group, groups, more = cut(groups, ',')
			p.user.Groups = append(p.user.Groups, uint32(planned(group)))
		}
	}
	p.dir, p.path, p.args = args[2], args[3], args[4:]
	return true
}

// planned is a number of a plan.
func planned(text string) uint64 {
	n, _, _ := takeNumber(text)
	return n
}

// RunStart does what StartCommand is for, if the program was started for that, and then never returns. It stands at the beginning of
// main.
func RunStart() {
	args := Args()
	if len(args) < 3 || args[1] != startArgument {
		return
	}
	reactor.RestoreFileLimit()
	runtime.LockOSThread() // who a thread is and where it stands is its own
	var p startPlan
	if !p.decode(args[2:]) {
		unix.Exit(2)
	}
	unix.CloseOnExec(stageStatus)
	stage, errno := p.become(shown(syscall.Environ()))
	status := [5]byte{byte(stage), byte(errno), byte(errno >> 8), byte(errno >> 16), byte(errno >> 24)}
	unix.Write(stageStatus, status[:])
	unix.Exit(126)
}
