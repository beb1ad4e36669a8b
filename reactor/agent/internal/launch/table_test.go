package launch

import "testing"

// TestTableFull holds that processes which wait for a host to take their output count as if
// they ran.
func TestTableFull(t *testing.T) {
	t.Parallel()
	table := NewTable(nil, nil, 3, nil)
	for _, x := range []struct {
		running, unread int
		want            bool
	}{{0, -1, false}, {2, -1, false}, {3, -1, true}, {0, 3, true}, {2, 0, false}, {2, 1, true}, {0, 2, false}} {
		table.running, table.CountUnread = make([]*Process, x.running), nil
		if x.unread >= 0 {
			table.CountUnread = func() int { return x.unread }
		}
		if got := table.Full(); got != x.want {
			t.Errorf("%d of 3 run, %d are unread: Full() = %v, want %v", x.running, x.unread, got, x.want)
		}
	}
}
