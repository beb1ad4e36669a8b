package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// spaced joins a flag of wick run whose value is optional to the path after it. docker's users
// write --tmpfs /run, and pflag takes only --tmpfs=/run. A path is no IMAGE, so it is the value.
func spaced(root *cobra.Command, args []string) []string {
	cmd, rest, err := root.Find(args)
	if err != nil || cmd.Name() != "run" || cmd.Parent() != root {
		return args
	}
	// cobra has taken the name of the command from among the arguments.
	at := 0
	for at < len(args) && !(args[at] == "run" && slices.Equal(args[at+1:], rest[at:])) {
		at++
	}
	rest = rest[at:]
	joined := append([]string(nil), args[:at+1]...)
	for i := 0; i < len(rest); i++ {
		word := rest[i]
		if word == "--" || word == "-" || !strings.HasPrefix(word, "-") {
			return append(joined, rest[i:]...)
		}
		var flag *pflag.Flag
		valued := false
		if name, long := strings.CutPrefix(word, "--"); long {
			name, _, valued = strings.Cut(name, "=")
			flag = cmd.Flag(name)
		} else {
			for j := 1; j < len(word); j++ {
				flag = cmd.Flags().ShorthandLookup(word[j : j+1])
				if flag == nil || flag.NoOptDefVal == "" {
					valued = j+1 < len(word)
					break
				}
			}
		}
		joined = append(joined, word)
		next := ""
		if i+1 < len(rest) {
			next = rest[i+1]
		}
		switch {
		case flag == nil || valued || next == "":
		case flag.NoOptDefVal == "":
			joined = append(joined, next)
			i++
		case flag.Name == "tmpfs" && strings.HasPrefix(next, "/"),
			flag.Name == "init" && (strings.HasPrefix(next, "/") || strings.HasPrefix(next, ".")):
			joined[len(joined)-1] += "=" + next
			i++
		}
	}
	return joined
}
