package bench

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// agents are the measured programs, by name, with the command that builds each into the file DEST.
// The naive one is built like the real one.
var agents = []struct {
	name  string
	build []string
	args  []string
}{
	{"floor", []string{"cc", "-O2", "-static", "-Wno-unused-result", "floor/floor.c", "-o", "DEST"}, nil},
	{"wick", []string{"../scripts/build", "-o", "DEST", runtime.GOARCH, "wick/cmd/vsock-agent"}, []string{"--unix-socket"}},
	{"naive", []string{"../scripts/build", "-o", "DEST", runtime.GOARCH, "wick/bench/naive"}, nil},
}

var dir = sync.OnceValue(func() string {
	d, err := os.MkdirTemp("", "wick-bench-")
	if err != nil {
		panic(err)
	}
	return d
})

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(dir())
	os.Exit(code)
}

// places are the directories in which files are written. Machines have /dev/shm in memory.
var places = []struct{ name, dir string }{{"disk", os.TempDir()}, {"tmpfs", "/dev/shm"}}

// agent is a running agent.
type agent struct {
	name   string
	binary string
	socket string
	spools string // its TMPDIR
	args   []string
	cmd    *exec.Cmd
}

// each runs f against every agent, as sub-benchmarks that benchstat can compare.
func each(b *testing.B, f func(b *testing.B, a *agent)) { eachIn(b, os.TempDir(), f) }

// eachIn is each with agents whose TMPDIR is dir.
func eachIn(b *testing.B, dir string, f func(b *testing.B, a *agent)) {
	for i := range agents {
		b.Run("agent="+agents[i].name, func(b *testing.B) {
			a := startIn(b, i, dir)
			f(b, a)
			a.stop()
		})
	}
}

// building is held while an agent is built and started, because parallel tests want the same one.
var building sync.Mutex

// start starts the agent, and builds it if necessary.
func start(b testing.TB, i int) *agent { return startIn(b, i, os.TempDir()) }

// startIn is start with that TMPDIR.
func startIn(b testing.TB, i int, spools string) *agent {
	spec := agents[i]
	a := &agent{
		name: spec.name, binary: filepath.Join(dir(), spec.name), socket: filepath.Join(b.TempDir(), "s"), spools: spools,
	}
	building.Lock()
	defer building.Unlock()
	if _, err := os.Stat(a.binary); err != nil {
		args := slices.Clone(spec.build)
		args[slices.Index(args, "DEST")] = a.binary
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			b.Skipf("%s cannot be built (apt-get install gcc libc6-dev): %v\n%s", spec.name, err, out)
		}
	}
	a.args = append(slices.Clone(spec.args), a.socket)
	var stderr bytes.Buffer
	a.run(b, &stderr)
	b.Cleanup(a.stop)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if h, err := connect(a.socket); err == nil {
			h.close()
			return a
		} else if time.Now().After(deadline) {
			b.Fatalf("%s does not listen: %v\n%s", a.name, err, stderr.String())
		}
	}
}

// run starts the agent's program.
func (a *agent) run(b testing.TB, stderr io.Writer) {
	a.cmd = exec.Command(a.binary, a.args...)
	// The environment is the same for all, because their commands inherit it and pay for it.
	a.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + a.spools}
	a.cmd.Stderr = stderr
	if err := a.cmd.Start(); err != nil {
		b.Fatal(err)
	}
}

func (a *agent) stop() {
	if a.cmd.Process != nil && a.cmd.ProcessState == nil {
		a.cmd.Process.Signal(unix.SIGTERM)
		a.cmd.Wait()
	}
}

// runOn puts the calling thread on a CPU. undo takes it back.
func runOn(cpu int) (undo func()) {
	var old, one unix.CPUSet
	unix.SchedGetaffinity(0, &old)
	one.Set(cpu % runtime.NumCPU())
	unix.SchedSetaffinity(0, &one)
	return func() { unix.SchedSetaffinity(0, &old) }
}

// pin puts the agent and the calling thread on one CPU. unpin undoes it for the thread.
func (a *agent) pin(b *testing.B) (unpin func()) {
	var one unix.CPUSet
	one.Set(0)
	tasks, err := os.ReadDir("/proc/" + strconv.Itoa(a.cmd.Process.Pid) + "/task")
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range tasks {
		tid, _ := strconv.Atoi(t.Name())
		unix.SchedSetaffinity(tid, &one)
	}
	return runOn(0)
}

// status returns a number of /proc/PID/status, in kB for memory.
func (a *agent) status(b testing.TB, key string) float64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(a.cmd.Process.Pid) + "/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n"+key+":")
	if !ok {
		b.Fatalf("no %s in /proc/PID/status", key)
	}
	n, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// peak returns by how much f raises the peak of the agent's memory over the present use, in kB.
func (a *agent) peak(b testing.TB, f func()) float64 {
	// Writing 5 sets the peak to the present use: proc_pid_clear_refs(5).
	if err := os.WriteFile("/proc/"+strconv.Itoa(a.cmd.Process.Pid)+"/clear_refs", []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
	before := a.status(b, "VmHWM")
	f()
	return a.status(b, "VmHWM") - before
}

// cpu returns the CPU time used by the agent's threads.
func (a *agent) cpu(b testing.TB) (total time.Duration) {
	tasks, err := filepath.Glob("/proc/" + strconv.Itoa(a.cmd.Process.Pid) + "/task/*/schedstat")
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range tasks {
		text, _ := os.ReadFile(t)
		first, _, _ := strings.Cut(string(text), " ")
		n, _ := strconv.ParseInt(first, 10, 64)
		total += time.Duration(n)
	}
	return total
}

// switches returns the number of context switches of the agent's threads.
func (a *agent) switches(b testing.TB) (n int) {
	tasks, err := filepath.Glob("/proc/" + strconv.Itoa(a.cmd.Process.Pid) + "/task/*/status")
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range tasks {
		text, _ := os.ReadFile(t)
		for _, line := range strings.Split(string(text), "\n") {
			if strings.Contains(line, "ctxt_switches:") {
				k, _ := strconv.Atoi(strings.Fields(line)[1])
				n += k
			}
		}
	}
	return n
}
