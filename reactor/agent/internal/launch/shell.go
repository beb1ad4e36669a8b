package launch

import (
	"wick/framing"
	"wick/reactor"
)

// Shell runs every command that is given as a line of text.
const Shell = "/bin/sh"

// ShellArgs returns the arguments with which the shell runs a command. A "--" keeps the shell from
// taking a command that begins with - or + as an option.
func ShellArgs(command string) []string {
	if command != "" && (command[0] == '-' || command[0] == '+') {
		return []string{"sh", "-c", "--", command}
	}
	return []string{"sh", "-c", command}
}

// ThroughSudo changes a shell command into one that sudo runs as root without a password. The
// command line only names the added environment entries, because every user can read it.
func (env *Env) ThroughSudo(spec *reactor.Command, added framing.Env) {
	args := []string{"sudo", "-n"}
	if added.Len() > 0 {
		names := []byte("--preserve-env=")
		for key := range added.All {
			names = append(append(names, key...), ',')
		}
		args = append(args, string(names[:len(names)-1]))
	}
	args = append(args, Shell)
	spec.Path, spec.Search = "sudo", env.SudoPath()
	spec.Args = append(args, spec.Args[1:]...)
}
