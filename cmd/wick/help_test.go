//go:build linux

package main

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"wick/cmd/wick/internal/help"
)

// TestHelp checks that the help text of each command has all its flags, and all commands a group.
func TestHelp(t *testing.T) {
	t.Parallel()
	root := (&tool{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}).root()
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		cmd.InitDefaultHelpFlag()
		text := cmd.UsageString()
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if n := strings.Count(text, "--"+f.Name+" "); !f.Hidden && n == 0 {
				t.Errorf("%s --help does not have --%s", cmd.CommandPath(), f.Name)
			}
		})
		for _, sub := range cmd.Commands() {
			if cmd == root && sub.IsAvailableCommand() && sub.GroupID == "" {
				t.Errorf("%s has no group", sub.CommandPath())
			}
			if sub.IsAvailableCommand() && !strings.Contains(text, "\n  "+sub.Name()+" ") {
				t.Errorf("%s --help does not have %s", cmd.CommandPath(), sub.Name())
			}
			walk(sub)
		}
	}
	walk(root)
	for _, name := range []string{"run", "exec"} {
		cmd, _, _ := root.Find([]string{name})
		_, rest, _ := strings.Cut(cmd.UsageString(), "More flags:\n")
		if rest, _, _ = strings.Cut(rest, "\n\n"); rest != "  -h, --help   help for "+name {
			t.Errorf("flags of wick %s without a group:\n%s", name, rest)
		}
	}
}

// TestDockerWords checks that each word of docker's is known, or gets what to say instead.
func TestDockerWords(t *testing.T) {
	t.Parallel()
	root := (&tool{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard}).root()
	for _, name := range strings.Fields(`attach build builder buildx commit compose container context cp create diff events exec
		export history image images import info inspect kill load login logout logs manifest network pause plugin port ps pull
		push rename restart rm rmi run save search stack start stats stop swarm system tag top unpause update version volume wait`) {
		if cmd, _, err := root.Find([]string{name}); err != nil || cmd == root {
			if help.InsteadOf(name) == "" {
				t.Errorf("wick %s: there is no such command, and no hint", name)
			}
		}
	}
	for name, flags := range map[string]string{
		"run": `add-host attach blkio-weight cap-add cap-drop cgroup-parent cgroupns cidfile cpu-period cpu-quota cpu-shares cpus
			cpuset-cpus cpuset-mems detach detach-keys device dns dns-search entrypoint env env-file expose gpus group-add health-cmd
			health-interval hostname init interactive ip ip6 ipc isolation kernel-memory label link log-driver log-opt mac-address
			memory memory-reservation memory-swap mount name network network-alias no-healthcheck oom-kill-disable oom-score-adj pid
			pids-limit platform privileged publish publish-all pull read-only restart rm runtime security-opt shm-size sig-proxy
			stop-signal stop-timeout storage-opt sysctl tmpfs tty ulimit user userns uts volume volume-driver volumes-from workdir`,
		"exec":    `detach detach-keys env env-file interactive privileged tty user workdir`,
		"list":    `all filter format last latest no-trunc quiet size`,
		"ps":      `all filter format last latest no-trunc quiet size`,
		"logs":    `details follow since tail timestamps until`,
		"attach":  `detach-keys no-stdin sig-proxy`,
		"start":   `attach interactive detach-keys`,
		"stop":    `time signal`,
		"restart": `time signal`,
		"kill":    `signal`,
		"rm":      `force volumes`,
		"rmi":     `force`,
		"images":  `all digests filter format no-trunc quiet`,
		"pull":    `all-tags platform quiet`,
		"inspect": `format size`,
		"stats":   `all no-stream`,
		"cp":      `archive follow-link quiet`,
	} {
		cmd, _, _ := root.Find([]string{name})
		for _, flag := range strings.Fields(flags) {
			if cmd.Flags().Lookup(flag) == nil && help.InsteadOfFlag(name, flag) == "" {
				t.Errorf("wick %s --%s: there is no such flag, and no hint", name, flag)
			}
		}
	}
}
