package guesttest

import (
	"strings"
	"testing"

	"wick/cmd/wick/internal/typist"
)

// TestRunNamed types at a shell of wick run -it, whose machine is in the list while it runs. Other
// commands take the machine's name meanwhile.
func TestRunNamed(t *testing.T) {
	t.Parallel()
	slots <- struct{}{}
	defer func() { <-slots }()
	w := newWick(t)
	typing := func(args ...string) *typist.Typist {
		t.Helper()
		cmd := w.command(args...)
		cmd.Env = append(cmd.Env, "TERM=vt100")
		p := typist.Start(t, 30, 90, nil, cmd)
		p.Patience = bootLimit
		return p
	}
	p := typing("run", "-it", "--name", "fg", "--tmpfs", "-p", "127.0.0.1::80", "-e", "PS1=guest> ", "--", "sh")
	p.Until("booting (")
	p.Until("\r\x1b[K")
	p.Until("guest> ")

	// The terminal has the size of the local one, and Ctrl-C and Ctrl-Z are the guest's.
	p.Keys("stty size; echo $TERM\r")
	p.Until("30 90\r\nvt100\r\n")
	p.Resize(20, 70)
	p.Keys("until [ \"$(stty size)\" = '20 70' ]; do :; done; echo it\"\"is\r")
	p.Until("itis\r\n")
	p.Until("guest> ")
	for _, tt := range []struct{ keys, want string }{{"\x1a", "Stopped"}, {"\x03", "^C"}} {
		p.Keys("sh -c 'echo rea\"\"dy; exec cat'\r")
		p.Until("ready\r\n")
		p.Keys("mirror\r")
		p.Until("mirror\r\n") // typed
		p.Until("mirror\r\n") // and said by cat
		p.Keys(tt.keys)
		p.Until(tt.want)
		p.Until("guest> ")
	}

	// Commands about a guest take the name first. So do completions.
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"exec", "fg", "echo", "here"}, "here\n"},
		{[]string{"ps", "--filter", "name=fg", "--format", "{{.Name}} {{(index .Published 0).Guest}}"}, "fg 80/tcp\n"},
		{[]string{"ls", "fg", "/proc/1/comm"}, "comm\n"},
		{[]string{"cat", "fg", "/proc/sys/kernel/ostype"}, "Linux\n"},
		{[]string{"ps", "--format", "{{.State}} {{.Command}}", "fg"}, "attached sh\n"},
		{[]string{"service", "restart", "fg", "nosuch"}, ""},
		{[]string{"__complete", "logs", "f"}, "fg\trunning\n:4\n"},
		{[]string{"__complete", "cat", ""}, "fg\trunning\n:4\n"},
		{[]string{"__complete", "cat", "fg", "/proc/1/comm"}, "/proc/1/comm\n:6\n"},
		{[]string{"__complete", "cp", "fg"}, "fg:\trunning\n:6\n"},
		{[]string{"inspect", "-f", "json", "--", "fg"}, w.run(0, "ps", "--json")},
		{[]string{"__complete", "cp", "fg:/proc/1/comm"}, "fg:/proc/1/comm\n:6\n"},
	} {
		code := 0
		if tt.want == "" {
			code = 1
		}
		if got := w.run(code, tt.args...); got != tt.want {
			t.Errorf("wick %q printed %q, want %q", tt.args, got, tt.want)
		}
	}
	address := strings.TrimSpace(w.run(0, "port", "fg", "80"))
	if got := w.run(0, "port", "fg"); !strings.HasPrefix(address, "127.0.0.1:") || got != "80/tcp -> "+address+"\n" {
		t.Errorf("wick port printed %q and %q", got, address)
	}
	if got := w.run(0, "top", "-n", "1", "fg"); !strings.HasPrefix(got, "up ") {
		t.Errorf("wick top without a terminal printed %q", got)
	}

	// The detach keys leave a kept command, and say how to come back.
	kept := typing("exec", "-it", "--keep", "forever", "-e", "PS1=kept> ", "fg", "sh")
	kept.Until("kept> ")
	kept.Keys("\x10\x11")
	kept.Until("left it running: wick attach fg ")
	kept.ExpectEnd(0)
	_, id, _ := strings.Cut(w.run(0, "ps", "--format", "{{.State}}{{.Terminal}} {{.ID}}", "fg"), "alonetrue ")
	id, _, _ = strings.Cut(id, "\n")
	kept = typing("attach", "fg", id)
	kept.UntilRaw()
	kept.Keys("exit 3\r")
	kept.ExpectEnd(3)

	// A shell ends with its terminal, and the machine runs on.
	shell := typing("shell", "--env", "PS1=shell> ", "fg")
	shell.Until("shell> ")
	if code := shell.HangUp(); code != 129 && code != 125 { // it sees the signal or the error first
		t.Errorf("wick shell ended with %d when its terminal was closed, want 129 or 125", code)
	}
	for w.run(0, "ps", "--format", "{{.State}}", "fg") != "attached\n" {
	}
	w.run(0, "exec", "fg", "true")

	// wick stop asks the command to end. Its code is that of wick run.
	p.Keys("exec sh -c 'trap \"echo bye; exit 9\" TERM; echo u\"\"p; while :; do sleep 0.1; done'\r")
	p.Until("up\r\n")
	w.run(0, "stop", "fg")
	p.Until("bye\r\n")
	p.ExpectEnd(9)
	if got := w.run(0, "list", "-a", "-q"); got != "" {
		t.Errorf("machines are left: %q", got)
	}
}
