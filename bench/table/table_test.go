package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

const sample = `goos: linux
BenchmarkPing/agent=floor-2   1000  9500 ns/op   9000 p50-ns  20000 p99-ns  0 B/op
BenchmarkPing/agent=wick-2    1000  9500 ns/op   9900 p50-ns  20000 p99-ns  0 B/op
BenchmarkPing/agent=naive-2   1000  9500 ns/op  19800 p50-ns  20000 p99-ns  0 B/op
BenchmarkPing/agent=floor-2   1000  9500 ns/op  10000 p50-ns  20000 p99-ns  0 B/op
BenchmarkPing/agent=wick-2    1000  9500 ns/op  12000 p50-ns  20000 p99-ns  0 B/op
BenchmarkPing/agent=naive-2   1000  9500 ns/op  12000 p50-ns  20000 p99-ns  0 B/op
BenchmarkExecs/n=8/agent=floor 500  1 ns/op 2000 execs/s
BenchmarkExecs/n=8/agent=wick  500  1 ns/op 1950 execs/s
BenchmarkStream/way=out/agent=wick  1  2400 MB/s
BenchmarkStream/way=out/agent=naive 1  2000 MB/s
BenchmarkFootprint/agent=wick-2  1  4.000 threads 0 idle-switches 0 B/op
PASS
`

// TestTable checks that a ratio is within a round, and that a target is least, most or absolute. A
// figure that was not measured has no line.
func TestTable(t *testing.T) {
	var r results
	if err := r.parse([]byte(sample)); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"| figure | wick | wick / floor | wick / naive | target | |",
		"|---|---|---|---|---|---|",
		"| ping p50, both ends on one CPU | 11.0 µs | 1.15 (1.12–1.18) | 0.750 (0.625–0.875) | ≤ 1.1 | missed |",
		"| execs, 8 in flight | 1950 /s | 0.975 (0.975–0.975) |  | ≥ 0.95 | met |",
		"| a process's output, a stream | 2400 MB/s |  | 1.20 (1.20–1.20) | ≥ 1.2 of naive | met |",
		"| idle for 3 s: context switches | 0 |  |  | ≤ 0 | met |",
		"| threads | 4.00 |  |  | ≤ 1 | missed |",
		"",
	}, "\n")
	if got := string(r.table()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestReplace(t *testing.T) {
	got, err := replace([]byte("a\n"+begin+"old\n"+end+"b\n"), []byte("new\n"))
	if want := "a\n" + begin + "\nnew\n\n" + end + "b\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if _, err := replace([]byte(end+begin), nil); err == nil {
		t.Error("no error without the markers in order")
	}
}

// TestFront checks the README's part: some lines with those that belong to them, and every missed
// figure by its name.
func TestFront(t *testing.T) {
	table := head + `| idle VmRSS | 2.10 MB |  |  | ≤ 2 MB | missed |
| – memory grows by | 2 kB |  |  | ≤ 1 kB | missed |
| pings, 1024 in flight | 1 M/s | 0.6 | 1 | ≥ 0.5 | met |
| – memory grows by | 0 kB |  |  | ≤ 1 kB | met |
| pings, 65 in flight | 1 M/s | 0.1 | 1 | ≥ 0.5 | missed |
| vm-init: its start to ready | 147 ms |  |  |  |  |
`
	want := head + `| idle VmRSS | 2.10 MB |  |  | ≤ 2 MB | missed |
| – memory grows by | 2 kB |  |  | ≤ 1 kB | missed |
| vm-init: its start to ready | 147 ms |  |  |  |  |

2 of 5 targets are met. Missed are: idle VmRSS; idle VmRSS – memory grows by; pings, 65 in flight.
`
	if got := string(frontOf([]byte(table))); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, figure := range front {
		if !slices.ContainsFunc(rows, func(w row) bool { return w.figure == figure }) {
			t.Errorf("no row is %q", figure)
		}
	}
}

// TestPagesShowResults compares the tables on the pages with the results.
func TestPagesShowResults(t *testing.T) {
	results, err := os.ReadFile("../results.txt")
	if err != nil {
		t.Fatal(err)
	}
	table := tableIn(results)
	if table == nil {
		t.Fatal("no table in bench/results.txt")
	}
	for page, shown := range map[string][]byte{"../../README.md": frontOf(table), "../figures.md": table} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := replace(text, shown); err != nil || !bytes.Equal(text, want) {
			t.Errorf("%s does not show the table of bench/results.txt (%v): go run ./bench/table -readme README.md -page bench/figures.md bench/results.txt", page, err)
		}
	}
}

// TestRows checks that every row has a figure of its own, and a target unless it is only shown.
func TestRows(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range rows {
		if seen[w.key] || w.scale == 0 {
			t.Errorf("%+v", w)
		}
		seen[w.key] = true
	}
}
