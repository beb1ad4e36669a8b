package launch

import (
	"wick/framing"
	"wick/reactor"
)

// Shell runs every command that is a line of text.
const Shell = "/bin/sh"

// ShellArgs returns the arguments with which the shell runs a command. A command that begins like an option
// must not be taken for one.
func ShellArgs(command string) []string {
	if command != "" && (command[0] == '-' || command[0] == '+') {
		return []string{"sh", "-c", "--", command}
	}
	return []string{"sh", "-c", command}
}

// ThroughSudo makes the command of a shell one that sudo runs as root, without asking for a password. Added
// entries of the environment are named to it, not shown: every user can read a command line.
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
