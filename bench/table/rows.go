package main

import "fmt"

// row is a line of the table.
type row struct {
	figure string
	key    string  // of results
	scale  float64 // converts its unit to that of the table
	unit   string
	// target is for the ratio to the floor, to the naive agent, or for the figure itself if it is
	// absolute. 0 means no target, except for an absolute one.
	target   float64
	least    bool // the target is the least and not the most
	naive    bool
	absolute bool
}

var rows = []row{
	{figure: "ping p50, both ends on one CPU", key: "BenchmarkPing p50-ns", scale: 1e-3, unit: "µs", target: 1.10},
	{figure: "pings, 64 in flight", key: "BenchmarkPipelined/n=64 pings/s", scale: 1e-6, unit: "M/s", target: 0.8, least: true},
	{figure: "pings, 1024 in flight", key: "BenchmarkPipelined/n=1024 pings/s", scale: 1e-6, unit: "M/s", target: 0.5, least: true},
	{figure: "exec `true` p50", key: "BenchmarkExec p50-ns", scale: 1e-6, unit: "ms", target: 1.10},
	{figure: "execs, 8 in flight", key: "BenchmarkExecs/n=8 execs/s", scale: 1, unit: "/s", target: 0.95, least: true},
	{figure: "execs, 64 in flight", key: "BenchmarkExecs/n=64 execs/s", scale: 1, unit: "/s", target: 0.95, least: true},
	{figure: "15 MiB of stdout", key: "BenchmarkStdout/on=disk MB/s", scale: 1, unit: "MB/s", target: 0.85, least: true},
	{figure: "– with TMPDIR on tmpfs", key: "BenchmarkStdout/on=tmpfs MB/s", scale: 1, unit: "MB/s", target: 0.85, least: true},
	{figure: "– memory grows by", key: "BenchmarkFootprint stdout-grown-kB", scale: 1, unit: "kB", target: 1023, absolute: true},
	{figure: "write_file 15 MiB", key: "BenchmarkWrite/size=15728640/on=disk MB/s", scale: 1, unit: "MB/s", target: 0.95, least: true},
	{figure: "– to tmpfs", key: "BenchmarkWrite/size=15728640/on=tmpfs MB/s", scale: 1, unit: "MB/s", target: 0.95, least: true},
	{figure: "– memory grows by", key: "BenchmarkFootprint write-grown-kB", scale: 1, unit: "kB", target: 1023, absolute: true},
	{figure: "write_file 4 KiB p50", key: "BenchmarkWrite/size=4096/on=disk p50-ns", scale: 1e-3, unit: "µs", target: 1.5},
	{figure: "– to tmpfs", key: "BenchmarkWrite/size=4096/on=tmpfs p50-ns", scale: 1e-3, unit: "µs", target: 2},
	{figure: "ping p99 while an exec sleeps", key: "BenchmarkPingDuringExec p99-ns", scale: 1e-3, unit: "µs", target: 1.15},
	{figure: "a process's output, a stream", key: "BenchmarkStream/way=out MB/s", scale: 1, unit: "MB/s", target: 1.2, least: true, naive: true},
	{figure: "through `cat` and back", key: "BenchmarkStream/way=both MB/s", scale: 1, unit: "MB/s", target: 1, least: true, naive: true},
	{figure: "a byte through `cat` and back, p50", key: "BenchmarkKeystroke p50-ns", scale: 1e-3, unit: "µs"},
	{figure: "100 streams at once", key: "BenchmarkStreams/n=100 MB/s", scale: 1, unit: "MB/s", target: 1, least: true, naive: true},
	{figure: "– slowest / fastest", key: "BenchmarkStreams/n=100 slowest/fastest", scale: 1},
	{figure: "ping p50 while a stream floods", key: "BenchmarkPingDuringStream p50-ns", scale: 1e-3, unit: "µs", target: 1, naive: true},
	{figure: "– p99", key: "BenchmarkPingDuringStream p99-ns", scale: 1e-3, unit: "µs"},
	{figure: "ping p50 on the connection of a stream that floods", key: "BenchmarkPingInStream p50-ns", scale: 1e-3, unit: "µs"},
	{figure: "– p99", key: "BenchmarkPingInStream p99-ns", scale: 1e-3, unit: "µs"},
	{figure: "a forwarded connection's output", key: "BenchmarkForward/way=out MB/s", scale: 1, unit: "MB/s"},
	{figure: "– to its peer and back", key: "BenchmarkForward/way=both MB/s", scale: 1, unit: "MB/s"},
	{figure: "– a byte to its peer and back, p50", key: "BenchmarkForwardByte p50-ns", scale: 1e-3, unit: "µs"},
	{figure: "– connect, a byte there and back, close, p50", key: "BenchmarkForwardConnect p50-ns", scale: 1e-3, unit: "µs"},
	{figure: "– memory while idle", key: "BenchmarkForwardIdle conn-kB", scale: 1, unit: "kB"},
	{figure: "start to ready, p50", key: "BenchmarkStart p50-ns", scale: 1e-6, unit: "ms", target: 1.4},
	{figure: "idle VmRSS", key: "BenchmarkFootprint idle-RSS-kB", scale: 1e-3, unit: "MB", target: 1.9, absolute: true},
	{figure: "idle RssAnon", key: "BenchmarkFootprint idle-anon-kB", scale: 1e-3, unit: "MB", target: 0.6, absolute: true},
	{figure: "VmRSS after all of it", key: "BenchmarkFootprint worked-RSS-kB", scale: 1e-3, unit: "MB", target: 3.0, absolute: true},
	{figure: "binary", key: "BenchmarkFootprint binary-MB", scale: 1, unit: "MB", target: 1.85, absolute: true},
	{figure: "binary of vm-init", key: "BenchmarkInit binary-MB", scale: 1, unit: "MB", target: 2, absolute: true},
	{figure: "idle for 3 s: context switches", key: "BenchmarkFootprint idle-switches", scale: 1, absolute: true},
	{figure: "idle for 3 s: CPU", key: "BenchmarkFootprint idle-cpu-us", scale: 1, unit: "µs", absolute: true},
	{figure: "threads", key: "BenchmarkFootprint threads", scale: 1, target: 1, absolute: true},
	{figure: "in a guest: ping p50", key: "BenchmarkGuestPing p50-ns", scale: 1e-3, unit: "µs", target: 1.10},
	{figure: "in a guest: pings, 64 in flight", key: "BenchmarkGuestPipelined/n=64 pings/s", scale: 1e-3, unit: "k/s", target: 0.75, least: true},
	{figure: "in a guest: exec `true` p50", key: "BenchmarkGuestExec p50-ns", scale: 1e-6, unit: "ms", target: 1.15},
	{figure: "in a guest: execs, 8 in flight", key: "BenchmarkGuestExecs/n=8 execs/s", scale: 1, unit: "/s", target: 0.9, least: true},
	{figure: "in a guest: 4 MiB of stdout", key: "BenchmarkGuestStdout MB/s", scale: 1, unit: "MB/s", target: 0.70, least: true},
	{figure: "in a guest: write_file 4 MiB", key: "BenchmarkGuestWrite/size=4194304 MB/s", scale: 1, unit: "MB/s", target: 0.95, least: true},
	{figure: "in a guest: write_file 4 KiB p50", key: "BenchmarkGuestWrite/size=4096 p50-ns", scale: 1e-6, unit: "ms", target: 1.7},
	{figure: "in a guest: a process's output, a stream", key: "BenchmarkGuestStream MB/s", scale: 1, unit: "MB/s", target: 1, least: true, naive: true},
	{figure: "vm-init: its start to ready", key: "BenchmarkGuestBoot init-to-ready-ms", scale: 1, unit: "ms"},
	{figure: "vm-init: kernel's start to ready", key: "BenchmarkGuestBoot kernel-to-ready-ms", scale: 1, unit: "ms"},
	{figure: "vm-init in 128 MiB: VmRSS", key: "BenchmarkGuestBoot RSS-kB", scale: 1e-3, unit: "MB", target: 3.0, absolute: true},
	{figure: "vm-init in 128 MiB: RssAnon", key: "BenchmarkGuestBoot anon-kB", scale: 1e-3, unit: "MB", target: 0.7, absolute: true},
	{figure: "vm-init in 128 MiB: threads", key: "BenchmarkGuestBoot threads", scale: 1, target: 1, absolute: true},
	// Here the floor is runc.
	{figure: "containerd: `ctr run` of `true`", key: "BenchmarkContainerRun ms", scale: 1e-3, unit: "s"},
	{figure: "– over `wick run` of the same", key: "BenchmarkContainerRun of-wick-run", scale: 1},
	{figure: "containerd: ten machines at once", key: "BenchmarkContainerAtOnce s", scale: 1, unit: "s"},
	{figure: "containerd: an idle shim's VmRSS", key: "BenchmarkContainerIdle shim-RSS-kB", scale: 1e-3, unit: "MB", target: 25, absolute: true},
	{figure: "– RssAnon", key: "BenchmarkContainerIdle shim-anon-kB", scale: 1e-3, unit: "MB"},
	{figure: "– PSS, of ten", key: "BenchmarkContainerIdle shim-PSS-kB", scale: 1e-3, unit: "MB"},
	{figure: "– PSS of its monitor and guest", key: "BenchmarkContainerIdle monitor-PSS-kB", scale: 1e-3, unit: "MB"},
}

const head = "| figure | wick | wick / floor | wick / naive | target | |\n|---|---|---|---|---|---|\n"

// table returns the table as Markdown, without figures that were not measured.
func (r *results) table() []byte {
	var lines []byte
	for _, row := range rows {
		if line := r.line(row); line != "" {
			lines = append(lines, line...)
		}
	}
	if lines == nil {
		return nil
	}
	return append([]byte(head), lines...)
}

func (r *results) line(w row) string {
	own := r.rounds[w.key]["wick"]
	if len(own) == 0 {
		return ""
	}
	figure := spreadOf(own)
	floor, beside := r.ratio(w.key, "wick", "floor")
	naive, besideNaive := r.ratio(w.key, "wick", "naive")
	floorText, naiveText := "", ""
	if beside {
		floorText = floor.ratioText()
	}
	if besideNaive {
		naiveText = naive.ratioText()
	}
	value, target, met := floor.median, "", ""
	switch {
	case w.absolute:
		// The figure itself has the target. Its ratio to a program that checks nothing says little.
		value, floorText = figure.median*w.scale, ""
	case w.naive:
		value, beside = naive.median, besideNaive
	}
	if w.absolute || beside && w.target != 0 {
		sign, good := "≤", value <= w.target
		if w.least {
			sign, good = "≥", value >= w.target
		}
		target, met = fmt.Sprintf("%s %v", sign, w.target), "missed"
		if w.absolute && w.unit != "" {
			target += " " + w.unit
		}
		if w.naive {
			target += " of naive"
		}
		if good {
			met = "met"
		}
	}
	unit := w.unit
	if unit != "" {
		unit = " " + unit
	}
	return fmt.Sprintf("| %s | %s%s | %s | %s | %s | %s |\n", w.figure, digits(figure.median*w.scale), unit, floorText, naiveText, target, met)
}
