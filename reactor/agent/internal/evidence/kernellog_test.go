package evidence

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
)

// TestRecords has a record with all that a record can have, and one that is as long as one can be.
func TestRecords(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	h := r.Dial()
	log := r.open(h, 1, framing.MaxKernelRecord)
	r.put(log, "30,339,5140900,-,caller=T1;NET: Registered\n SUBSYSTEM=net\n DEVICE=n2\n")
	got := records(h, 1, 1)[0]
	want := framing.KernelRecord{Priority: 30, Sequence: 339, TimeUS: 5140900, Text: []byte("NET: Registered"), Dictionary: []byte(" SUBSYSTEM=net\n DEVICE=n2\n")}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	// The credit is not enough for the longest record any more.
	const head = "7,340,5140901,-;"
	r.put(log, head+strings.Repeat("x", 8<<10-len(head)))
	h.Ping(2)
	h.Send(framing.AppendCredit(nil, 1, framing.StreamOutput, framing.MaxKernelRecord))
	if got := records(h, 1, 1)[0]; len(got.Text) != 8<<10-len(head) || got.Lost != 0 {
		t.Errorf("got %d bytes of text, %d lost, want %d and 0", len(got.Text), got.Lost, 8<<10-len(head))
	}
}

// TestLost has records that were overwritten before they were read. The gap in their sequence says
// how many.
func TestLost(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	h := r.Dial()
	log := r.open(h, 1, 1<<20)
	r.put(log, "6,9,1,-;a\n", "6,10,1,-;b\n", "nonsense", "6,20,1,-;c\n", "6,21,1,-;d\n")
	var lost []uint64
	for _, record := range records(h, 1, 4) {
		lost = append(lost, record.Lost)
	}
	if fmt.Sprint(lost) != "[0 0 9 0]" {
		t.Errorf("lost %v, want [0 0 9 0]", lost)
	}
}

// TestManyRecords has more records than a frame holds, while the host pings.
func TestManyRecords(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	h := r.Dial()
	log := r.open(h, 1, 1<<20)
	const n = 300
	for i := range n {
		for {
			_, err := unix.Write(log, fmt.Appendf(nil, "6,%d,1,-;%s\n", i, strings.Repeat("y", i)))
			if err == nil {
				break
			}
			roomtest.WaitFor(t, "the log is read", func() bool {
				p := []unix.PollFd{{Fd: int32(log), Events: unix.POLLOUT}}
				unix.Poll(p, 0)
				return p[0].Revents&unix.POLLOUT != 0
			})
		}
	}
	for i, record := range records(h, 1, n) {
		if record.Sequence != uint64(i) || len(record.Text) != i {
			t.Fatalf("record %d has sequence %d and %d bytes, want %d", i, record.Sequence, len(record.Text), i)
		}
	}
}

// TestLogFails has a log that cannot be read any more, and hosts that leave.
func TestLogFails(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	h := r.Dial()
	log := r.open(h, 1, 1<<20)
	unix.Shutdown(log, unix.SHUT_WR) // a read returns nothing, which is no record
	h.Ping(2)
	h.Send(framing.AppendClose(nil, 1, framing.StreamOutput))
	h.WantDone(1, unix.ECANCELED)
	r.open(h, 3, 0)
	h.Close()
	r.Lost(0)
	r.Do(func() {
		if r.s.logs != 0 {
			t.Errorf("%d logs are open, want 0", r.s.logs)
		}
		r.s.open = func(bool) (int, error) { return -1, unix.EPERM }
	})
	h = r.Dial()
	h.Send(framing.AppendKernelLog(nil, 1, framing.KernelLog{}))
	h.WantDone(1, unix.EPERM)
}
