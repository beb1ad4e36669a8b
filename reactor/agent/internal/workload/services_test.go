package workload

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
)

// steps makes this program a service that takes steps, one an argument.
const steps = "steps"

// step takes a step:
//
//	notify=TEXT  sends a notification, with + for the end of a line
//	barrier      waits until earlier notifications were taken
//	await=FIFO   reads from a FIFO
//	tell=FIFO    writes to one
//	listen=PORT  listens
//	hang         waits for a signal
//	exit=N       exits
func step(text string) error {
	verb, value, _ := strings.Cut(text, "=")
	switch verb {
	case "notify":
		conn, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte(strings.ReplaceAll(value, "+", "\n")))
		return err
	case "barrier":
		return barrier()
	case "await":
		_, err := os.ReadFile(value)
		return err
	case "tell":
		return os.WriteFile(value, []byte("x"), 0)
	case "listen":
		_, err := net.Listen("tcp", "127.0.0.1:"+value)
		return err
	case "hang":
		return unix.Pause()
	case "exit":
		code, _ := strconv.Atoi(value)
		os.Exit(code)
	}
	return fmt.Errorf("unknown step %q", text)
}

// barrier sends a descriptor of a pipe, and waits until it is closed; sd_notify_barrier(3).
func barrier() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	rights := unix.UnixRights(int(w.Fd()))
	to := &unix.SockaddrUnix{Name: os.Getenv("NOTIFY_SOCKET")}
	if err := unix.Sendmsg(fd, []byte("BARRIER=1"), rights, to, 0); err != nil {
		return err
	}
	w.Close()
	_, err = r.Read(make([]byte, 1))
	if err != nil && err.Error() != "EOF" {
		return err
	}
	return nil
}

// takeSteps runs the steps of the command line.
func takeSteps() {
	for _, text := range os.Args[2:] {
		if err := step(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(99)
		}
	}
	os.Exit(0)
}

// program returns the command of a service that takes steps.
func program(texts ...string) string {
	return `"` + os.Args[0] + `" ` + steps + ` "` + strings.Join(texts, `" "`) + `"`
}

// wantSoon waits until a fact has a value.
func (r *room) wantSoon(name, value string) {
	r.Helper()
	var got string
	for end := time.Now().Add(roomtest.Patience); got != value; time.Sleep(time.Millisecond) {
		if got = r.facts()[name]; got != value && time.Now().After(end) {
			r.Fatalf("fact %s is %q, want %q; all: %q", name, got, value, r.facts())
		}
	}
}

// TestOrder starts services one after the other: as they notify, listen, end and pass a probe.
func TestOrder(t *testing.T) {
	t.Parallel()
	one, two, three := fifo(t), fifo(t), fifo(t)
	mark := filepath.Join(t.TempDir(), "mark")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	r := newRoom(t,
		"--workload=sleep 1000", "--workload-after=migrate,probed",
		"--service.db.command="+program("await="+one, "notify=STATUS=up and well+READY=1", "hang"), "--service.db.ready=notify",
		"--service.web.command="+program("await="+two, "listen="+port, "hang"), "--service.web.ready=port:"+port, "--service.web.after=db",
		"--service.migrate.command="+program("await="+three), "--service.migrate.ready=end", "--service.migrate.after=db,web",
		"--service.probed.command=sleep 1000", "--service.probed.ready=exit:test -e "+mark, "--service.probed.after=web",
	)
	r.wantSoon("service.db.state", "starting")
	r.wantFacts(map[string]string{
		"workload.state": "waiting", "workload.waits": "migrate", "service.web.state": "waiting", "service.web.waits": "db",
	})
	pass(t, one, "x")
	r.wantSoon("service.db.state", "ready")
	r.wantFacts(map[string]string{"service.db.status": "up and well", "service.migrate.waits": "web"})
	r.wantSoon("service.web.state", "starting")
	pass(t, two, "x")
	r.wantSoon("service.web.state", "ready")
	r.wantSoon("service.probed.state", "starting")
	pass(t, three, "x")
	r.wantSoon("service.migrate.state", "ended")
	r.wantFacts(map[string]string{"workload.state": "waiting", "workload.waits": "probed"})
	roomtest.WriteFile(t, mark, "")
	r.wantSoon("workload.state", "ready")
	r.wantFacts(map[string]string{"service.probed.state": "ready", "service.migrate.code": "0"})
	if _, ok := r.facts()["workload.waits"]; ok {
		t.Error("a service that runs waits")
	}
}

// TestStopOrder stops services, each before those that it was started after. One ignores its signal
// and is killed.
func TestStopOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	note := func(name, more string) string {
		return "sh:trap 'echo " + name + " >>" + dir + "/order; " + more + "exit 0' USR1; : >" + dir + "/" + name + "; while :; do sleep 1000 & wait; done"
	}
	r := newRoom(t,
		"--service.a.command="+note("a", ""), "--service.a.stop=USR1", "--service.a.restart=always",
		"--service.b.command=sh:trap '' TERM; : >"+dir+"/b; while :; do sleep 1000; done", "--service.b.after=a", "--service.b.stop=TERM:0",
		"--workload="+note("w", ""), "--workload-after=b", "--workload-stop=USR1:60",
		"--service.late.command=true", "--service.late.wait=host",
	)
	for _, name := range []string{"a", "b", "w"} {
		roomtest.WaitFor(t, name+" runs", func() bool { _, err := os.Stat(dir + "/" + name); return err == nil })
	}
	r.Do(func() {
		if grace, runs := r.work.Stop(); !runs || grace != 70*time.Second+3*killGrace {
			t.Errorf("Stop = %v, %v", grace, runs)
		}
		r.work.HostHere()
	})
	r.line("info workload stopping signal=SIGUSR1")
	r.line("info workload ended code=0")
	r.line("info service b stopping signal=SIGTERM")
	r.line("warn killing the service b, it survived its signal")
	r.line("warn service b ended code=137 signal=SIGKILL")
	r.line("info service a stopping signal=SIGUSR1")
	r.line("info service a ended code=0")
	roomtest.WantContent(t, dir+"/order", "w\na\n")
	r.Do(func() {
		if r.work.Running() || r.changes < 3 {
			t.Errorf("running %v, changed %d times", r.work.Running(), r.changes)
		}
	})
	r.wantFacts(map[string]string{"service.late.state": "ended", "service.b.state": "ended"})
}

// TestNotifications sends notifications from a service and from another process.
func TestNotifications(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "name")
	one, two := fifo(t), fifo(t)
	r := newRoom(t,
		"--service.app.command="+program("notify=RELOADING=1+MAINPID=1+STATUS=going+X=1+READY=1", "barrier", "await="+one,
			"notify=STOPPING=1", "barrier", "await="+two, "exit=3"),
		"--service.app.ready=notify",
		"--service.name.command=sh:printf %s \"$NOTIFY_SOCKET\" >"+name+"; exec sleep 1000", "--service.name.ready=notify",
		"--service.none.command=sh:exit ${NOTIFY_SOCKET:+1}",
	)
	r.wantSoon("service.app.state", "ready")
	r.wantSoon("service.app.status", "going")
	roomtest.WaitFor(t, "the name is known", func() bool { b, err := os.ReadFile(name); return err == nil && len(b) > 0 })
	socket, _ := os.ReadFile(name)
	conn, err := net.Dial("unixgram", string(socket))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, text := range []string{"READY=1", strings.Repeat("x", maxNotification+1)} {
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		want := "pid=" + strconv.Itoa(os.Getpid()) + " bytes=" + strconv.Itoa(min(len(text), maxNotification))
		if got := r.line("warn notification ignored "); got != want {
			t.Errorf("notification ignored %s, want %s", got, want)
		}
	}
	r.wantFacts(map[string]string{"service.name.state": "starting", "service.none.state": "ended"})
	pass(t, one, "x")
	r.wantSoon("service.app.state", "stopping")
	pass(t, two, "x")
	r.wantSoon("service.app.state", "failed")
	r.wantFacts(map[string]string{"service.app.code": "3", "service.app.status": ""})
}

// TestWatchdog has services that miss their watchdog, and one that does not.
func TestWatchdog(t *testing.T) {
	t.Parallel()
	gate := fifo(t)
	r := newRoom(t,
		"--service.late.command="+program("notify=READY=1+WATCHDOG_USEC=1000", "hang"), "--service.late.ready=notify",
		"--service.late.watchdog=3600", "--service.late.restart=on-failure", "--service.late.tries=2",
		"--service.hit.command="+program("notify=WATCHDOG=trigger", "hang"), "--service.hit.watchdog=3600",
		"--service.well.command="+program("notify=WATCHDOG_USEC=60000000+WATCHDOG=1", "tell="+gate, "hang"), "--service.well.watchdog=3600",
		"--service.deaf.command=sh:trap '' ABRT; while :; do sleep 1000; done", "--service.deaf.watchdog=1", "--service.deaf.stop=TERM:0",
		"--service.env.command=sh:exit $((WATCHDOG_USEC - 3600000000))", "--service.env.watchdog=3600",
	)
	await(t, gate)
	r.wantSoon("service.late.state", "failed")
	r.wantSoon("service.hit.state", "failed")
	r.wantSoon("service.deaf.state", "failed")
	r.wantSoon("service.env.state", "ended")
	// A Go program exits with 2 at SIGABRT.
	r.wantFacts(map[string]string{
		"service.late.code": "2", "service.late.restarts": "1", "service.hit.code": "2",
		"service.deaf.code": "137", "service.well.state": "ready",
	})
}

// TestBeside has a service in a crash loop beside one that runs, and after one that never starts.
func TestBeside(t *testing.T) {
	t.Parallel()
	r := newRoom(t,
		"--workload=sleep 1000",
		"--service.crash.command=sh:kill -SEGV $$", "--service.crash.restart=always", "--service.crash.tries=3",
		"--service.none.command=/no/such", "--service.none.restart=no",
		"--service.after.command=true", "--service.after.after=none",
	)
	r.wantSoon("service.crash.state", "failed")
	r.wantFacts(map[string]string{
		"workload.state": "ready", "workload.restarts": "0", "service.crash.restarts": "2", "service.crash.code": "139",
		"service.none.state": "failed", "service.none.error": "exec /no/such: no such file or directory",
		"service.after.state": "waiting", "service.after.waits": "none",
	})
}

// TestMistakes has services that cannot be started. The others are.
func TestMistakes(t *testing.T) {
	t.Parallel()
	options := []string{
		"--workload=true", "--workload-after=b",
		"--service.a.command=true", "--service.a.after=c",
		"--service.b.command=true", "--service.b.after=none",
		"--service.c.command=true", "--service.c.after=a",
		"--service.d.user=0",
		"--service.e.command=true", "--service.e.after=e",
		"--service.good.command=true",
		"--service.aftera.command=true", "--service.aftera.after=a",
	}
	var got []string
	parseAll(t, options...).Check(func(option, reason string) { got = append(got, option+": "+reason) })
	want := `service.a.after: the service would have to start before itself
service.b.after: no service is named none
service.c.after: the service would have to start before itself
service.d.command: the service has no command
service.e.after: the service would have to start before itself`
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("Check finds\n%s\nwant\n%s", text, want)
	}
	r := newRoom(t, options...)
	r.wantSoon("service.good.state", "ended")
	r.wantFacts(map[string]string{
		"workload.state": "waiting", "service.a.state": "failed", "service.c.state": "failed", "service.d.state": "failed",
		"service.b.error": "no service is named none", "service.aftera.waits": "a",
	})
}

// TestLimits sets resource limits. Those of a cgroup fail without one.
func TestLimits(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	r := newRoom(t,
		"--workload=sh:ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -f", "--workload-limit=nofile=1024:4096", "--workload-limit=core=0",
		"--workload-limit=fsize=1m", "--workload-limit=nofile=64:512",
		"--service.s.command=sh:ulimit -Sn >"+out, "--service.s.limit=nofile=77",
		"--service.m.command=true", "--service.m.limit=memory=64m",
	)
	r.wantSoon("workload.state", "ended")
	h := r.Dial()
	attach(h, 1, 1000)
	if got, _ := output(h, 1); got != "64\n512\n0\n2048\n" {
		t.Errorf("limits %q", got)
	}
	r.wantSoon("service.s.state", "ended")
	roomtest.WantContent(t, out, "77\n")
	r.wantSoon("service.m.state", "failed")
	r.wantFacts(map[string]string{"service.m.error": "limit memory.max: no such file or directory"})
}

// TestTerminal attaches to a service that has a terminal, resizes that and types.
func TestTerminal(t *testing.T) {
	t.Parallel()
	gate := fifo(t)
	r := newRoom(t, "--workload=sh:tty >/dev/null && stty -echo && stty size && echo >"+gate+" && read line && stty size && echo $line",
		"--workload-terminal=yes")
	await(t, gate)
	h := r.Dial()
	attach(h, 1, 1000)
	h.Send(framing.AppendResize(nil, 1, 50, 132))
	h.Send(roomtest.Input(1, []byte("typed\n")))
	if got, e := output(h, 1); got != "24 80\r\n50 132\r\ntyped\r\n" || e.Code != 0 {
		t.Errorf("output %q, %+v", got, e)
	}
}

// TestMessages lists, watches and controls services.
func TestMessages(t *testing.T) {
	t.Parallel()
	r := newRoom(t,
		"--service.db.command=sleep 1000", "--service.db.restart=always", "--service.db.wait=host",
		"--service.bad.command=true", "--service.bad.after=none",
	)
	h, w := r.Dial(), r.Dial()
	facts := func(h *roomtest.Host, seq uint32) map[string]string {
		t.Helper()
		f, err := framing.ParseFacts(h.Want(framing.TypeFacts, seq))
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for name, value := range f.All {
			got[string(name)] = string(value)
		}
		return got
	}
	await := func(state string) map[string]string {
		t.Helper()
		for {
			if got := facts(w, 1); got["service.db.state"] == state {
				return got
			}
		}
	}
	do := func(op framing.ServiceOp, signal unix.Signal, name string, errno unix.Errno) {
		t.Helper()
		h.Send(framing.AppendService(nil, 9, &framing.Service{Op: op, Signal: uint8(signal), Name: []byte(name)}))
		h.WantDone(9, errno)
	}
	h.Send(framing.AppendServices(nil, 2, false))
	if got := facts(h, 2); got["service.db.waits"] != "host" || got["service.bad.state"] != "failed" {
		t.Errorf("facts %q", got)
	}
	w.Send(framing.AppendServices(nil, 1, true))
	await("waiting")
	do(framing.ServiceSignal, unix.SIGHUP, "db", unix.ESRCH)
	do(framing.ServiceStart, 0, "none", unix.ENOENT)
	do(framing.ServiceStart, 0, "bad", unix.EINVAL)
	do(framing.ServiceSignal+1, 0, "db", unix.EINVAL)
	do(framing.ServiceSignal, 65, "db", unix.EINVAL)
	do(framing.ServiceStart, 0, "db", 0)
	first := await("ready")["service.db.pid"]
	do(framing.ServiceStart, 0, "db", unix.EALREADY)
	do(framing.ServiceSignal, unix.SIGSTOP, "db", 0)
	roomtest.WaitFor(t, "the process is stopped", func() bool {
		stat, err := os.ReadFile("/proc/" + first + "/stat")
		return err == nil && strings.Contains(string(stat), ") T ")
	})
	do(framing.ServiceSignal, unix.SIGKILL, "db", 0)
	await("backing-off")
	second := await("ready")["service.db.pid"]
	do(framing.ServiceRestart, 0, "db", 0)
	await("stopping")
	third := await("ready")["service.db.pid"]
	if first == second || second == third || third == "" {
		t.Errorf("the processes are %s, %s and %s", first, second, third)
	}
	do(framing.ServiceStop, 0, "db", 0)
	await("ended")
	do(framing.ServiceStop, 0, "db", 0)
	do(framing.ServiceRestart, 0, "db", 0)
	await("ready")
	h.Send(framing.AppendAttach(nil, 3, &framing.Attach{ID: framing.ServiceID("db")}))
	h.Want(framing.TypeStarted, 3)
	start := framing.Start{ID: framing.ServiceID("another")}
	start.Args.Add("true")
	h.Send(framing.AppendStart(nil, 4, &start))
	h.WantError(4, "process id is reserved")
	r.Do(func() { r.work.stopping = true })
	do(framing.ServiceStart, 0, "db", unix.EBUSY)
	w.Send(roomtest.Close(1, framing.StreamInput))
	for {
		typ, _, _ := w.Next()
		if typ == framing.TypeDone {
			break
		}
	}
	r.Do(func() {
		if len(r.work.watchers) > 0 {
			t.Error("a watch is left after its end")
		}
	})
}
