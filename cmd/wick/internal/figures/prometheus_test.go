package figures

import (
	"strings"
	"testing"
)

// values are names and values in turn.
type values []any

func (f values) all(yield func(string, uint64) bool) {
	for i := 0; i < len(f) && yield(f[i].(string), uint64(f[i+1].(int))); i += 2 {
	}
}

// TestPrometheus has figures with units and labels, unknown ones, and hostile names.
func TestPrometheus(t *testing.T) {
	f := values{
		"uptime", 1_500_000, "net.eth0.rx_bytes", 1 << 40, "load.1", 250, "net.a\"\\\n\xff.rx_bytes", 2, "psi.io.some", 1234,
		"net.eth0.rx_bytes", 9, "new.fi\\g\n\"ure", 7,
	}
	var out strings.Builder
	shown, err := Prometheus(&out, f.all, nil)
	want := `# HELP wick_uptime_seconds Time since the boot.
# TYPE wick_uptime_seconds gauge
wick_uptime_seconds 1.5
# HELP wick_net_receive_bytes_total Bytes that an interface has received.
# TYPE wick_net_receive_bytes_total counter
wick_net_receive_bytes_total{device="eth0"} 1.099511627776e+12
wick_net_receive_bytes_total{device="a\"\\\n�"} 2
# HELP wick_load1 Tasks that ran or were ready, over 1 minute.
# TYPE wick_load1 gauge
wick_load1 0.25
# HELP wick_pressure_some_ratio Share of 10 s for which some tasks stalled.
# TYPE wick_pressure_some_ratio gauge
wick_pressure_some_ratio{resource="io"} 0.1234
# HELP wick_new_fi_g__ure The figure new.fi\\g\n"ure of the guest.
# TYPE wick_new_fi_g__ure gauge
wick_new_fi_g__ure 7
`
	if got := out.String(); got != want || shown != 7 || err != nil {
		t.Errorf("%d shown, %v:\n%s\nwant\n%s", shown, err, got, want)
	}
}

// TestMetrics checks that the names of metrics differ, and that a pattern has a label.
func TestMetrics(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range metrics {
		if seen[m.name] || m.counter != (strings.HasSuffix(m.name, "_total")) {
			t.Errorf("%s is there twice, or is a counter without _total", m.name)
		}
		seen[m.name] = true
		name := strings.Replace(m.figure, "*", "x", 1)
		got, label := metricOf(name)
		if got.name != m.name || (label != "") != (name != m.figure) {
			t.Errorf("metricOf(%q) = %s%s, want %s", name, got.name, label, m.name)
		}
	}
}
