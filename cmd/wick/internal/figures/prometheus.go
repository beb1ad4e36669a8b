package figures

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// A metric is a figure, or some of one kind, as Prometheus has it. A figure in another unit is
// divided.
type metric struct {
	figure, name, help string
	counter            bool
	divide             float64
}

const (
	micros       = 1e6
	perThousand  = 1e3
	hundredthsOf = 1e4 // hundredths of a percent
)

// metrics has those with a unit of their own, or a better name. Names of figures may have a *,
// whose place becomes a label.
var metrics = []metric{
	{"memory.total", "memory_total_bytes", "Memory of the machine.", false, 1},
	{"memory.available", "memory_available_bytes", "Memory that programs can still use.", false, 1},
	{"memory.free", "memory_free_bytes", "Memory that nothing uses.", false, 1},
	{"swap.total", "swap_total_bytes", "Swap space.", false, 1},
	{"swap.free", "swap_free_bytes", "Swap space that is free.", false, 1},
	{"load.1", "load1", "Tasks that ran or were ready, over 1 minute.", false, perThousand},
	{"load.5", "load5", "Tasks that ran or were ready, over 5 minutes.", false, perThousand},
	{"load.15", "load15", "Tasks that ran or were ready, over 15 minutes.", false, perThousand},
	{"uptime", "uptime_seconds", "Time since the boot.", false, micros},
	{"disk.total", "disk_total_bytes", "Size of the file system of /.", false, 1},
	{"disk.free", "disk_free_bytes", "Free space of the file system of /.", false, 1},
	{"disk.files", "disk_files", "Files that the file system of / can have.", false, 1},
	{"disk.files_free", "disk_files_free", "Files that it can still get.", false, 1},
	{"cpu.*", "cpu_seconds_total", "Processor time of all processors.", true, micros},
	{"processes", "processes", "Processes and threads.", false, 1},
	{"agent.rss", "agent_resident_bytes", "Resident memory of the agent.", false, 1},
	{"agent.anon", "agent_anonymous_bytes", "Anonymous memory of the agent.", false, 1},
	{"agent.spooled", "agent_spooled_bytes", "Output of commands that the agent holds in files.", false, 1},
	{"agent.cpu", "agent_cpu_seconds_total", "Processor time of the agent.", true, micros},
	{"epoch", "restores_total", "Restores of the machine that the guest knows of.", true, 1},
	{"loop.delay", "loop_delay_seconds", "Longest turn of the agent's loop since the last reading.", false, micros},
	{"loop.wait", "loop_wait_seconds_total", "Time for which the agent was ready and had no processor.", true, micros},
	{"psi.*.some", "pressure_some_ratio", "Share of 10 s for which some tasks stalled.", false, hundredthsOf},
	{"psi.*.full", "pressure_full_ratio", "Share of 10 s for which all tasks stalled.", false, hundredthsOf},
	{"psi.*.some_total", "pressure_some_seconds_total", "Time for which some tasks stalled.", true, micros},
	{"psi.*.full_total", "pressure_full_seconds_total", "Time for which all tasks stalled.", true, micros},
	{"net.*.rx_bytes", "net_receive_bytes_total", "Bytes that an interface has received.", true, 1},
	{"net.*.rx_packets", "net_receive_packets_total", "Packets that an interface has received.", true, 1},
	{"net.*.rx_errors", "net_receive_errors_total", "Packets received with an error.", true, 1},
	{"net.*.rx_dropped", "net_receive_dropped_total", "Packets dropped when they were received.", true, 1},
	{"net.*.tx_bytes", "net_transmit_bytes_total", "Bytes that an interface has sent.", true, 1},
	{"net.*.tx_packets", "net_transmit_packets_total", "Packets that an interface has sent.", true, 1},
	{"net.*.tx_errors", "net_transmit_errors_total", "Packets that could not be sent.", true, 1},
	{"net.*.tx_dropped", "net_transmit_dropped_total", "Packets dropped before they were sent.", true, 1},
	{"block.*.reads", "block_reads_total", "Reads of a block device.", true, 1},
	{"block.*.read_bytes", "block_read_bytes_total", "Bytes read from a block device.", true, 1},
	{"block.*.writes", "block_writes_total", "Writes to a block device.", true, 1},
	{"block.*.write_bytes", "block_written_bytes_total", "Bytes written to a block device.", true, 1},
	{"block.*.busy", "block_busy_seconds_total", "Time for which a block device was busy.", true, micros},
}

// labels has the name of the label, by the first word of the figures.
var labels = map[string]string{"cpu": "mode", "psi": "resource", "net": "device", "block": "device"}

// A sample is a line of a metric.
type sample struct {
	label string // with its braces, or ""
	value float64
}

// metricOf returns the metric of a figure, and the label of its sample. A figure that wick does
// not know is a gauge of its own name.
func metricOf(name string) (m metric, label string) {
	for _, m := range metrics {
		before, after, pattern := strings.Cut(m.figure, "*")
		if !pattern {
			if name == m.figure {
				return m, ""
			}
			continue
		}
		middle, ok := strings.CutPrefix(name, before)
		if middle, ok2 := strings.CutSuffix(middle, after); ok && ok2 && middle != "" {
			return m, "{" + labels[before[:len(before)-1]] + `="` + escapeLabel(middle) + `"}`
		}
	}
	return metric{name, metricName(name), "The figure " + name + " of the guest.", false, 1}, ""
}

// metricName makes a valid name of a figure's.
func metricName(name string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, name)
}

// escapeLabel escapes the value of a label.
func escapeLabel(value string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(value, "\uFFFD"))
}

// escapeHelp escapes a help text.
func escapeHelp(text string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(strings.ToValidUTF8(text, "\uFFFD"))
}

// Prometheus prints figures in the text format of Prometheus: the samples of a metric together,
// behind its HELP and TYPE.
func Prometheus(to io.Writer, figures iter.Seq2[string, uint64], names []string) (shown int, err error) {
	var order []metric
	samples := map[string][]sample{}
	for name, value := range figures {
		if !Named(name, names) {
			continue
		}
		shown++
		m, label := metricOf(name)
		if _, known := samples[m.name]; !known {
			order = append(order, m)
		}
		if !slices.ContainsFunc(samples[m.name], func(s sample) bool { return s.label == label }) {
			samples[m.name] = append(samples[m.name], sample{label, float64(value) / m.divide})
		}
	}
	w := bufio.NewWriter(to)
	for _, m := range order {
		kind := "gauge"
		if m.counter {
			kind = "counter"
		}
		fmt.Fprintf(w, "# HELP wick_%s %s\n# TYPE wick_%s %s\n", m.name, escapeHelp(m.help), m.name, kind)
		for _, s := range samples[m.name] {
			fmt.Fprintf(w, "wick_%s%s %s\n", m.name, s.label, strconv.FormatFloat(s.value, 'g', -1, 64))
		}
	}
	return shown, w.Flush()
}
