package workload

import "testing"

// configure changes the options of the workload, as a host does without a fault.
func (r *room) configure(options ...string) {
	r.Helper()
	r.Do(func() {
		r.set(options...)
		r.work.Configured()
	})
}

// set changes options, on the loop.
func (r *room) set(options ...string) {
	r.Helper()
	for _, o := range options {
		if err := r.work.Specs.setIn(o); err != nil {
			r.Errorf("%s: %v", o, err)
		}
	}
	r.work.Configure()
}

// TestConfigured has a host configure a workload that waits for it. Further options count at the
// next start, and a workload that has ended stays ended.
func TestConfigured(t *testing.T) {
	t.Parallel()
	gate := fifo(t)
	r := newRoom(t, "--workload=false", "--workload-wait=configure")
	r.Do(r.work.HostHere)
	r.Do(func() { r.set("--workload=false", "--workload-wait=configure") })
	r.wantFacts(map[string]string{"workload.state": "waiting"})
	const wait, again = "--workload-wait=configure", "--workload-restart=on-failure"
	r.configure("--workload=sh:read x <"+gate+"; exit 3", wait, again)
	r.line("info workload started pid=")
	r.configure("--workload=sh:exit 0", wait, again)
	r.wantFacts(map[string]string{"workload.state": "ready"})
	pass(t, gate, "x\n")
	if got, want := r.line("warn workload ended "), `code=3 restart="in 0.1s"`; got != want {
		t.Errorf("workload ended %s, want %s", got, want)
	}
	r.line("info workload started pid=")
	if got, want := r.line("info workload ended "), "code=0 restart=no"; got != want {
		t.Errorf("workload ended %s, want %s", got, want)
	}
	r.configure("--workload=true")
	r.wantFacts(map[string]string{"workload.state": "ended", "workload.restarts": "1"})
}

// TestConfiguredLate has a host give a machine without a workload one.
func TestConfiguredLate(t *testing.T) {
	t.Parallel()
	for _, wait := range []string{"no", "host", "configure"} {
		r := newRoom(t)
		r.configure("--workload=true", "--workload-wait="+wait)
		r.line("info workload started pid=")
	}
	// A further service, first with a mistake.
	r := newRoom(t, "--workload=sleep 1000")
	r.line("info workload started pid=")
	r.configure("--service.db.command=true", "--service.db.after=none")
	r.wantFacts(map[string]string{"service.db.state": "failed", "service.db.error": "no service is named none"})
	r.configure("--service.db.after=workload")
	r.line("info service db started pid=")
}
