package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/pflag"

	"wick/cmd/wick/internal/exit"
)

// readEnv reads a file of environment variables as docker does. A line is NAME=VALUE, or NAME alone
// for the host's value. Lines that begin with # and empty ones are left out. Quotes have no
// meaning.
func readEnv(path string) (env []string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--env-file: %w", err)
	}
	lines := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	lines.Buffer(nil, len(text)+1)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimLeftFunc(lines.Text(), unicode.IsSpace)
		if line == "" || line[0] == '#' {
			continue
		}
		name, _, _ := strings.Cut(line, "=")
		if name == "" || strings.ContainsFunc(name, unicode.IsSpace) || strings.Contains(line, "\x00") {
			return nil, fmt.Errorf("--env-file %s: line %d: want NAME=VALUE or NAME", path, n)
		}
		env = append(env, line)
	}
	return env, nil
}

// readEnvironment returns the variables of the files and the flags, each with its value. A flag
// replaces a line of a file.
func (f *commandFlags) readEnvironment() error {
	var all []string
	for _, path := range f.envFiles {
		env, err := readEnv(path)
		if err != nil {
			return exit.Usage(err)
		}
		all = append(all, env...)
	}
	for _, entry := range f.env {
		if name, _, _ := strings.Cut(entry, "="); name == "" {
			return exit.Usage(fmt.Errorf("--env %q: want NAME=VALUE or NAME", entry))
		}
	}
	f.env = mergeEnv(hostEnv(append(all, f.env...)))
	f.envFiles = nil
	return nil
}

// dockerNames makes names that docker has for a flag lead to ours.
func dockerNames(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	switch name {
	case "workdir":
		name = "dir"
	case "ulimit":
		name = "limit"
	}
	return pflag.NormalizedName(name)
}

// mergeEnv joins environments. A later entry replaces an earlier one of the same name.
func mergeEnv(environments ...[]string) (merged []string) {
	at := map[string]int{}
	for _, entry := range slices.Concat(environments...) {
		name, _, _ := strings.Cut(entry, "=")
		if i, ok := at[name]; ok {
			merged[i] = entry
			continue
		}
		at[name] = len(merged)
		merged = append(merged, entry)
	}
	return merged
}

// hostEnv gives each entry without a value the one of the host, like docker. One that the host does
// not have is left out.
func hostEnv(env []string) (full []string) {
	for _, entry := range env {
		if !strings.Contains(entry, "=") {
			value, ok := os.LookupEnv(entry)
			if !ok {
				continue
			}
			entry += "=" + value
		}
		full = append(full, entry)
	}
	return full
}
