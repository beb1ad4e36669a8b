package agent

import (
	"testing"

	"wick/framing"
)

// TestProtectedByFirstRequest holds that a host is greeted before the agent protects itself from
// commands, and that the first request finds it protected.
func TestProtectedByFirstRequest(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	b.prepare = func(a *Agent) { a.startTimer.Stop() } // else it protects itself by then
	b.start()
	t.Cleanup(b.stop)
	protected := func() (is bool) {
		b.do(func(a *Agent) { is = a.protected })
		return is
	}
	h := b.dial()
	if protected() {
		t.Error("the agent was protected before the first request")
	}
	h.Send(framing.AppendFrame(nil, framing.TypePing, 1, nil))
	h.Want(framing.TypePong, 1)
	if !protected() {
		t.Error("the agent answered a request without being protected")
	}
}

// TestProtectedWithoutHost holds that the agent protects itself without a request too.
func TestProtectedWithoutHost(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	b.until("the agent is protected", func(a *Agent) bool { return a.protected })
}
