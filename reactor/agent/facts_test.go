package agent

import (
	"bytes"
	"strings"
	"testing"

	"wick/framing"
	"wick/reactor/agent/internal/contain"
	"wick/reactor/agent/internal/sys"
)

// TestFacts holds that a hello_result has the facts of the configuration, and of what the
// machine cannot do. The facts are bounded, and none but a mount is there twice.
func TestFacts(t *testing.T) {
	t.Parallel()
	const maxMounts, maxFact = 16, 200
	b := startBox(t)
	b.do(func(a *Agent) {
		a.machine.Facts = append(a.machine.Facts, [2]string{"boot.overlay disk", "1us took 2us"},
			[2]string{"degraded./sys", strings.Repeat("x", 1000)})
		a.protect()
		m := &a.contain.Missing
		m.Pids, m.Memory, m.PSI = "first", "second", "third"
	})
	h := b.dial()
	h.Send(framing.AppendHello(nil, 1, 7))
	payload := h.Want(framing.TypeHelloResult, 1)
	var r framing.HelloResult
	if err := framing.ParseHelloResult(payload, &r); err != nil || r.Version != framing.Version {
		t.Fatalf("version %d, %v, want %d", r.Version, err, framing.Version)
	}
	facts, mounts := map[string]string{}, 0
	for name, value := range r.Facts.All {
		_, twice := facts[string(name)]
		if bytes.HasPrefix(name, []byte("mount.")) {
			mounts++
		} else if twice {
			t.Errorf("%s is there twice", name)
		}
		facts[string(name)] = string(value)
	}
	for name, want := range map[string]string{
		"limit.pids":        sys.Num(contain.DefaultPids()),
		"boot.overlay disk": "1us took 2us", "degraded./sys": strings.Repeat("x", maxFact),
		"degraded.pids": "first", "degraded.memory": "second", "degraded.psi": "third",
	} {
		if facts[name] != want {
			t.Errorf("%s is %q, want %q", name, facts[name], want)
		}
	}
	if len(payload) > 8<<10 || mounts > maxMounts {
		t.Errorf("%d bytes, %d mounts, want at most 8 KiB and %d", len(payload), mounts, maxMounts)
	}
}
