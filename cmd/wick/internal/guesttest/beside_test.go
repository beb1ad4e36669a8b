package guesttest

import (
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"wick/cmd/wick/internal/machinetest"
	"wick/framing"
	"wick/framing/client"
	"wick/framing/wiretest"
)

var rounds = flag.Int("guesttest.rounds", 0, "rounds in which to measure agents beside each other in a machine")

// beside has the agents that listen in the machine, with their vsock ports.
var beside = []struct {
	name string
	port int
}{{"floor", 2000}, {"wick", 1000}, {"naive", 2001}}

// TestFiguresBeside measures what package bench measures, over vsock in a machine: the agent beside
// the floor and the naive agent of that package. It prints lines like go test's benchmarks, for
// scripts/bench. Without -guesttest.rounds it does nothing.
func TestFiguresBeside(t *testing.T) {
	if *rounds == 0 {
		t.Skip("measures for a minute: scripts/bench gives it -guesttest.rounds")
	}
	l := needFixture(t)
	for range *rounds {
		reportBoot(t, l)
	}
	c := usual(t, l)
	// The floor and the naive agent hold several copies of files and outputs in memory.
	c.MemoryMiB = 512
	v, conn := boot(t, l, c)
	for _, a := range beside {
		if a.port != 1000 {
			install(t, v, conn, a.name, a.port)
		}
	}
	for range *rounds {
		for _, line := range besideLines {
			for _, a := range beside {
				if name, figure, unit := line(t, v, a.port); name != "" {
					printLine(name, a.name, figure, unit)
				}
			}
		}
	}
}

func printLine(name, agent string, figure float64, unit string) {
	fmt.Printf("BenchmarkGuest%s/agent=%s 1 %g %s\n", name, agent, figure, unit)
}

// reportBoot boots a machine with 128 MiB. It reports the times of the boot by the guest's clock,
// and the size of process 1 then.
func reportBoot(t *testing.T, l *fixture) {
	c := usual(t, l)
	c.MemoryMiB = 128
	c.InitArgs = []string{"--log-level=debug"} // for the times of the steps
	v, conn := boot(t, l, c)
	defer func() {
		v.Kill()
		v.free()
	}()
	up := v.console.await(t, "info up kernel=", 1)
	kernel := micros(t, up)
	ready := micros(t, v.console.await(t, "uptime=", 1))
	printLine("Boot", "wick", (ready-kernel)/1e3, "init-to-ready-ms")
	printLine("Boot", "wick", ready/1e3, "kernel-to-ready-ms")
	status := run(t, conn, "sleep 1; cat /proc/1/status")
	for name, unit := range map[string]string{"VmRSS": "RSS-kB", "RssAnon": "anon-kB", "Threads": "threads"} {
		printLine("Boot", "wick", float64(figure(t, status, name)), unit)
	}
	all, _ := v.console.look()
	for line := range strings.Lines(all) {
		if _, mark, ok := strings.Cut(line, "debug boot "); ok {
			fmt.Println("boot:", strings.TrimSpace(mark))
		}
	}
}

// micros returns the number at the beginning of a text.
func micros(t *testing.T, text string) float64 {
	t.Helper()
	n, err := strconv.Atoi(regexp.MustCompile(`^\d*`).FindString(text))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return float64(n)
}

// install builds an agent of package bench, puts it into the machine and starts it.
func install(t *testing.T, v *vm, conn *client.Client, name string, port int) {
	t.Helper()
	var content []byte
	var err error
	if name == "floor" {
		binary := filepath.Join(t.TempDir(), name)
		cc := exec.Command("cc", "-O2", "-static", "-Wno-unused-result", "../../../../bench/floor/floor.c", "-o", binary)
		if out, err := cc.CombinedOutput(); err != nil {
			t.Skipf("the floor cannot be built (apt-get install gcc libc6-dev): %v\n%s", err, out)
		}
		content, err = os.ReadFile(binary)
	} else {
		content, err = machinetest.Program(deadline(t, stepLimit), runtime.GOARCH, "wick/bench/"+name)
	}
	if err != nil {
		t.Fatal(err)
	}
	put(t, conn, "/root/"+name, content)
	run(t, conn, "chmod +x /root/"+name)
	spawn(t, conn, fmt.Sprintf("exec /root/%s vsock:%d", name, port))
	for limit := time.Now().Add(stepLimit); ; time.Sleep(50 * time.Millisecond) {
		c, err := client.Dial(deadline(t, stepLimit), fmt.Sprintf("firecracker:%s:%d", v.UDS(), port))
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
}

// dialBeside connects to the agent at a port and reads its ready.
func dialBeside(t *testing.T, v *vm, port int) *raw {
	t.Helper()
	r := dialRaw(t, v.UDS(), strconv.Itoa(port))
	r.wantKind(wiretest.Ready)
	return r
}

// besideLine measures one figure of the agent at a port. name is empty if the agent has no such
// figure.
type besideLine func(t *testing.T, v *vm, port int) (name string, figure float64, unit string)

var besideLines = []besideLine{
	func(t *testing.T, v *vm, port int) (string, float64, string) {
		r := dialBeside(t, v, port)
		ping := wiretest.Raw(wiretest.Ping, 1, nil)
		return "Ping", median(300, func() { r.exchange(ping, wiretest.Pong) }), "p50-ns"
	},
	func(t *testing.T, v *vm, port int) (string, float64, string) {
		r := dialBeside(t, v, port)
		const n, times = 64, 100
		var batch []byte
		for i := range uint32(n) {
			batch = append(batch, wiretest.Raw(wiretest.Ping, i, nil)...)
		}
		took := elapsed(func() {
			for range times {
				r.write(batch)
				for range n {
					r.wantKind(wiretest.Pong)
				}
			}
		})
		return "Pipelined/n=64", n * times / took, "pings/s"
	},
	func(t *testing.T, v *vm, port int) (string, float64, string) {
		r := dialBeside(t, v, port)
		exec := commandFrame("true")
		return "Exec", median(100, func() { r.exchange(exec, wiretest.ExecResult) }), "p50-ns"
	},
	func(t *testing.T, v *vm, port int) (string, float64, string) {
		r := dialBeside(t, v, port)
		exec := commandFrame("true")
		const n, total = 8, 200
		took := elapsed(func() {
			for i := range total + n {
				if i >= n {
					r.wantKind(wiretest.ExecResult)
				}
				if i < total {
					r.write(exec)
				}
			}
		})
		return "Execs/n=8", total / took, "execs/s"
	},
	func(t *testing.T, v *vm, port int) (string, float64, string) {
		r := dialBeside(t, v, port)
		const size = 4 << 20
		exec := commandFrame("head -c " + strconv.Itoa(size) + " /dev/zero")
		return "Stdout", size / 1e6 / (median(5, func() { r.exchange(exec, wiretest.ExecResult) }) / 1e9), "MB/s"
	},
	func(t *testing.T, v *vm, port int) (string, float64, string) {
		r := dialBeside(t, v, port)
		const size = 4 << 20
		frame := besideFile(size)
		return "Write/size=4194304", size / 1e6 / (median(5, func() { r.exchange(frame, wiretest.WriteFileResult) }) / 1e9), "MB/s"
	},
	func(t *testing.T, v *vm, port int) (string, float64, string) {
		r := dialBeside(t, v, port)
		frame := besideFile(4 << 10)
		return "Write/size=4096", median(100, func() { r.exchange(frame, wiretest.WriteFileResult) }), "p50-ns"
	},
	func(t *testing.T, v *vm, port int) (string, float64, string) {
		const size = 4 << 20
		command := "head -c " + strconv.Itoa(size) + " /dev/zero"
		var stream func()
		switch port {
		case 1000:
			r := dialBeside(t, v, port)
			r.hello()
			start := framing.Start{Shell: true, OutputCredit: math.MaxUint32}
			start.Args.Add(command)
			stream = func() {
				start.ID++
				r.write(framing.AppendStart(nil, uint32(start.ID), &start))
				for r.next().Type != wiretest.Exited {
				}
			}
		case 2001: // a connection of its own for each stream
			b := make([]byte, 256<<10)
			stream = func() {
				r := dialBeside(t, v, port)
				defer r.conn.Close()
				r.write(framing.AppendFrame(nil, framing.TypeStart, 1, []byte(command)))
				r.wantKind(wiretest.Started)
				for range size / len(b) {
					if _, err := io.ReadFull(r.in, b); err != nil {
						t.Fatal(err)
					}
				}
			}
		default:
			return "", 0, "" // the floor has no streams
		}
		return "Stream", size / 1e6 / (median(5, stream) / 1e9), "MB/s"
	},
}

// exchange sends a request and reads the reply.
func (r *raw) exchange(request []byte, want byte) {
	r.t.Helper()
	r.write(request)
	r.wantKind(want)
}

// wantKind reads a frame of that type.
func (r *raw) wantKind(want byte) {
	r.t.Helper()
	if f := r.next(); f.Type != want {
		r.t.Fatalf("got %v, want %v", f, want)
	}
}

func commandFrame(command string) []byte {
	return wiretest.Make(wiretest.Exec, 1, 0, command)
}

// besideFile makes a write_file to memory, because the disk of an emulated machine is not to be
// measured.
func besideFile(size int) []byte {
	return wiretest.Make(wiretest.WriteFile, 1, "/tmp/beside", 0, make([]byte, size))
}

// elapsed returns how long f takes, in seconds.
func elapsed(f func()) float64 {
	at := time.Now()
	f()
	return time.Since(at).Seconds()
}

// median returns the median time of n calls of f, in nanoseconds. It leaves out the first calls,
// for which an emulator translates the code.
func median(n int, f func()) float64 {
	for range n / 3 {
		f()
	}
	took := make([]float64, n)
	for i := range took {
		took[i] = elapsed(f) * 1e9
	}
	slices.Sort(took)
	return took[n/2]
}
