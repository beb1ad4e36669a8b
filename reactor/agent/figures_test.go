package agent

import (
	"testing"

	"wick/framing"
)

// TestProcessFiguresAreItsOwn has a command use the processor, and looks at the next ones, which get
// the same cgroup: neither a record of a list nor a receipt has a part of what the first used.
func TestProcessFiguresAreItsOwn(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	h := b.extended()
	p := h.shell(1, "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done")
	burnt := p.wait()
	spent := burnt.UserUS + burnt.SystemUS
	name := ""
	b.do(func(a *Agent) {
		if a.contain.Idle() > 0 {
			name = a.contain.Next()
		}
	})
	if name == "" {
		t.Skip("mount cgroup2 at /sys/fs/cgroup, and run as root")
	}
	path, f := b.fifo("go")
	for seq, start := range []func(){
		func() { p = h.shell(2, "read x <"+path); p.next() },
		func() { h.exec(3, "read x <"+path) },
	} {
		start()
		b.until("it runs in the same cgroup", func(a *Agent) bool {
			return len(a.running) == 1 && a.running[0].cgroup != nil && a.running[0].cgroup.Name() == name
		})
		h.send(framing.AppendFrame(nil, framing.TypeProcesses, 10, nil))
		list, err := framing.ParseProcessList(h.want(framing.TypeProcessList, 10))
		if err != nil || len(list) != 1 {
			t.Fatalf("ParseProcessList = %v, %v, want one record", list, err)
		}
		if got := list[0].CPUUS; got >= spent/2 {
			t.Errorf("command %d: its record says %d µs of processor time, and %d µs are of the one before", seq, got, spent)
		}
		f.WriteString("\n")
		if seq > 0 {
			h.result(3)
		} else if r := p.wait(); r.UserUS+r.SystemUS >= spent/2 {
			t.Errorf("its receipt says %d µs of processor time, and %d µs are of the one before", r.UserUS+r.SystemUS, spent)
		}
	}
	b.quiet(1)
}

// TestReceiptsMeanTheSame compares the receipts of one command in a cgroup that is new and in the
// same one again: both are of the tree, or neither is. A receipt without a cgroup is of the command
// and its children, and counts what was left of its session.
func TestReceiptsMeanTheSame(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	h := b.extended()
	var first *framing.Exited
	for seq := uint32(1); seq <= 3; seq++ {
		p := h.shell(seq, "true")
		r := p.wait()
		if seq == 1 {
			first = r
			continue
		}
		if r.Tree != first.Tree || r.Peak == 0 || r.Peak > 4*first.Peak || first.Peak > 4*r.Peak {
			t.Errorf("receipt %d is of the tree: %v, peak %d; the first: %v, peak %d", seq, r.Tree, r.Peak, first.Tree, first.Peak)
		}
	}
	b.do(func(a *Agent) { a.contain.Close() })
	if r := h.shell(4, "true").wait(); r.Tree || r.Peak == 0 || r.Left != 0 {
		t.Errorf("the receipt without a cgroup is of the tree: %v, peak %d, %d left", r.Tree, r.Peak, r.Left)
	}
	if r := h.shell(5, "sleep 1000 >&- 2>&- & exit 3").wait(); r.Code != 3 || r.Left != 1 {
		t.Errorf("the receipt without a cgroup has code %d, %d left, want 3 and 1", r.Code, r.Left)
	}
	b.quiet(1)
}
