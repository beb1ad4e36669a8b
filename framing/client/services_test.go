package client

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"wick/framing"
)

// servicesOf returns a facts frame, of names and values in turn.
func servicesOf(seq uint32, pairs ...string) []byte {
	var f framing.Facts
	for i := 0; i < len(pairs); i += 2 {
		f.Add(pairs[i], pairs[i+1])
	}
	return framing.AppendFacts(nil, seq, f)
}

// TestServices lists services. Facts that are not known are skipped.
func TestServices(t *testing.T) {
	t.Parallel()
	c, p := pair(t)
	list := background(func() ([]Service, error) { return c.Services(testContext(t)) })
	p.hello(everything)
	seq, _ := p.expect(framing.TypeServices)
	p.send(servicesOf(seq,
		"workload.state", "waiting", "workload.waits", "db", "workload.restarts", "0", "plain", "x", "workload.new", "x",
		"service.db.state", "backing-off", "service.db.restarts", "3", "service.db.code", "0", "service.db.status", "a=b",
		"service.service.state", "failed", "service.service.error", "no",
	))
	got := <-list
	want := []Service{
		{Name: "workload", State: "waiting", Waits: "db"},
		{Name: "db", State: "backing-off", Restarts: 3, Ended: true, Status: "a=b"},
		{Name: "service", State: "failed", Error: "no"},
	}
	if got.err != nil || !slices.Equal(got.v, want) {
		t.Errorf("Services = %+v, %v, want %+v", got.v, got.err, want)
	}
	if id := want[0].ID(); id != framing.WorkloadID {
		t.Errorf("the workload's id is %x", id)
	}

	stop := background(func() (int, error) { return 0, c.SignalService(testContext(t), "db", syscall.SIGHUP) })
	seq, payload := p.expect(framing.TypeService)
	if r, err := framing.ParseService(payload); err != nil || r.Op != framing.ServiceSignal || r.Signal != 1 || string(r.Name) != "db" {
		t.Errorf("the request is %+v, %v", r, err)
	}
	p.send(framing.AppendDone(nil, seq, uint32(syscall.ESRCH), 0, "service db: no such process"))
	if err := (<-stop).err; !errors.Is(err, syscall.ESRCH) {
		t.Errorf("SignalService: %v", err)
	}

	began := make(chan bool)
	states := background(func() (states []string, err error) {
		for list, err := range c.WatchServices(testContext(t)) {
			if err != nil {
				return states, err
			}
			states = append(states, list[0].State)
			close(began)
		}
		return states, nil
	})
	seq, _ = p.expect(framing.TypeServices)
	p.send(servicesOf(seq, "workload.state", "ready"))
	<-began
	p.send(framing.AppendDone(nil, seq, uint32(syscall.EIO), 0, "enough"))
	if got := <-states; !slices.Equal(got.v, []string{"ready"}) || !errors.Is(got.err, syscall.EIO) {
		t.Errorf("WatchServices yields %q, %v", got.v, got.err)
	}
}
