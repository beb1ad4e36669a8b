package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	eventtypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/services/events/v1"
	"github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// killsEnv, if it is "all", has TestKills kill each program at each step.
const killsEnv = "WICK_KILLS"

// The steps of a container's life. At those that end in "ing" a request is on its way.
var steps = []string{
	"creating", "booting", "created", "running", "exec", "paused", "killing", "stopped", "deleting",
}

// kill is a program that is killed, and the steps at which it can be.
type kill struct {
	party string
	steps []string
	// The state of the task afterwards. It is UNKNOWN without a task.
	state task.Status
	// same says that the state is that of the step.
	same bool
}

var kills = []kill{
	{party: "shim", steps: steps},
	{party: "shim by SIGTERM", steps: steps},
	{party: "shim that is stopped", steps: []string{"booting", "running", "paused"}},
	{party: "monitor", steps: steps[1:], state: task.Status_STOPPED},
	{party: "stopped monitor", steps: []string{"running", "paused"}, state: task.Status_STOPPED},
	{party: "guest", steps: []string{"running", "exec"}, state: task.Status_STOPPED},
	{party: "virtiofsd", steps: []string{"booting", "created", "running", "exec"}, state: task.Status_STOPPED},
	{party: "containerd", steps: steps, same: true},
	{party: "containerd and monitor", steps: []string{"created", "running", "paused"}, state: task.Status_STOPPED},
	{party: "containerd and shim", steps: []string{"booting", "created", "running", "stopped"}},
}

// sample is what TestKills kills without killsEnv.
var sample = map[string]bool{
	"shim/booting": true, "shim by SIGTERM/exec": true, "monitor/booting": true, "monitor/created": true,
	"containerd/paused": true,
}

// TestKills kills programs at steps of a container's life. Afterwards nothing of it is left, and
// containerd has told of its end.
func TestKills(t *testing.T) {
	d := containerd(t)
	c := connect(t, d)
	all := os.Getenv(killsEnv) == "all"
	number := 0
	for _, k := range kills {
		for _, step := range k.steps {
			name := k.party + "/" + step
			number++
			if !all && !sample[name] {
				continue
			}
			id := fmt.Sprintf("kills%d", number)
			t.Run(name, func(t *testing.T) {
				if k.party == "virtiofsd" && virtiofsd() == "" {
					t.Skip("no virtiofsd; apt-get install qemu-system-common")
				}
				v := &victim{d: d, c: c, id: id}
				v.test(t, k, step)
				if all || name == "monitor/created" {
					if out := d.run(t, 0, testImage, id, "echo", "again"); out != "again\n" {
						t.Errorf("a new container of the same id: %q", out)
					}
					d.clean(t, id)
				}
			})
		}
	}
}

func virtiofsd() string {
	for _, path := range []string{"/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// services are containerd's services. They survive its restart.
type services struct {
	tasks     tasks.TasksClient
	snapshots snapshots.SnapshotsClient
	events    events.EventsClient
}

func connect(t *testing.T, d *daemon) *services {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+d.options.address,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &services{tasks.NewTasksClient(conn), snapshots.NewSnapshotsClient(conn), events.NewEventsClient(conn)}
}

// in returns a context for requests to containerd.
func in(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "containerd-namespace", "default")
}

// exits collects the exit codes that containerd tells of, by the id of the process.
type exits struct {
	mu    sync.Mutex
	codes map[string][]uint32
	order []string
}

// watch subscribes to the exits until the test ends or containerd does.
func (c *services) watch(t *testing.T) *exits {
	t.Helper()
	ctx, cancel := context.WithCancel(in(t.Context()))
	const probe = "/wick/probe"
	stream, err := c.events.Subscribe(ctx, &events.SubscribeRequest{
		Filters: []string{`topic=="/tasks/exit"`, `topic=="` + probe + `"`},
	})
	if err != nil {
		t.Fatal(err)
	}
	e := &exits{codes: map[string][]uint32{}}
	done, subscribed := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() {
		cancel()
		<-done
	})
	go func() {
		defer close(done)
		for {
			envelope, err := stream.Recv()
			if err != nil {
				return
			}
			if envelope.Topic == probe {
				select {
				case <-subscribed:
				default:
					close(subscribed)
				}
				continue
			}
			exit := &eventtypes.TaskExit{}
			if proto.Unmarshal(envelope.Event.GetValue(), exit) == nil {
				e.mu.Lock()
				e.codes[exit.ID] = append(e.codes[exit.ID], exit.ExitStatus)
				e.order = append(e.order, exit.ID)
				e.mu.Unlock()
			}
		}
	}()
	await(t, "subscribe to events", func() bool {
		c.events.Publish(ctx, &events.PublishRequest{Topic: probe, Event: processSpec("probe")})
		select {
		case <-subscribed:
			return true
		default:
			return false
		}
	})
	return e
}

func (e *exits) of(id string) []uint32 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.codes[id])
}

// victim is the container of a test.
type victim struct {
	d  *daemon
	c  *services
	id string
}

// test leads a container to a step, kills a program there, and checks the end.
func (v *victim) test(t *testing.T, k kill, step string) {
	args := []string{"container", "create", "--runtime", runtimeName}
	if k.party == "virtiofsd" {
		args = append(args, "--mount", "type=bind,src="+t.TempDir()+",dst=/vol,options=rbind:rw")
	}
	v.d.must(t, append(args, testImage, v.id, "sleep", "1000000")...)
	exits := v.c.watch(t)
	before := v.lead(t, step, func() { v.kill(t, k.party, step) })
	inFlight := strings.HasSuffix(step, "ing") && step != "running"
	want := k.state
	if k.same {
		want = before
	}
	switch {
	case step == "creating" || step == "booting":
	case inFlight && k.same:
	case step == "deleting" || step == "killing" && want == task.Status_UNKNOWN:
	default:
		await(t, fmt.Sprintf("have the task in the state %v", want), func() bool {
			state, code := v.state(t)
			return state == want && (state != task.Status_STOPPED || code == killedCode)
		})
	}
	if !strings.HasPrefix(k.party, "containerd") && step != "creating" && step != "booting" {
		await(t, "get the event of the exit", func() bool { return slices.Contains(exits.of(v.id), killedCode) })
	}
	v.remove(t)
	v.d.clean(t, v.id)
}

// lead leads the container to a step, calls kill, and returns the state before.
func (v *victim) lead(t *testing.T, step string, kill func()) task.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(in(t.Context()), ctrLimit)
	defer cancel()
	ready := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("lead the container to %s: %v\n%s", step, err, v.d.lastLog())
		}
	}
	// during calls kill while a request is on its way. The request may fail, but must end.
	during := func(request func() error, at func() bool) {
		done := make(chan error, 1)
		go func() { done <- request() }()
		if at != nil {
			await(t, "be at "+step, at)
			if len(done) > 0 {
				t.Fatalf("%s: the request ended: %v", step, <-done)
			}
		}
		kill()
		select {
		case <-done:
		case <-ctx.Done():
			t.Fatalf("%s: the request does not end\n%s", step, v.d.lastLog())
		}
	}
	mounts, err := v.c.snapshots.Mounts(ctx, &snapshots.MountsRequest{Snapshotter: "overlayfs", Key: v.id})
	ready(err)
	create := func() error {
		_, err := v.c.tasks.Create(ctx, &tasks.CreateTaskRequest{ContainerID: v.id, Rootfs: mounts.Mounts})
		return err
	}
	kill9 := func() error {
		_, err := v.c.tasks.Kill(ctx, &tasks.KillRequest{ContainerID: v.id, Signal: uint32(syscall.SIGKILL)})
		return err
	}
	switch step {
	case "creating":
		during(create, func() bool { return v.d.program(v.id, true) != 0 })
		return task.Status_UNKNOWN
	case "booting":
		during(create, func() bool { return v.d.program(v.id, false) != 0 })
		return task.Status_UNKNOWN
	}
	ready(create())
	if step == "created" {
		kill()
		return task.Status_CREATED
	}
	_, err = v.c.tasks.Start(ctx, &tasks.StartRequest{ContainerID: v.id})
	ready(err)
	switch step {
	case "exec":
		ready(v.exec(ctx, "e", "sleep", "1000000"))
	case "paused":
		_, err := v.c.tasks.Pause(ctx, &tasks.PauseTaskRequest{ContainerID: v.id})
		ready(err)
		kill()
		return task.Status_PAUSED
	case "killing":
		during(kill9, nil)
		return task.Status_RUNNING
	case "stopped", "deleting":
		ready(kill9())
		_, err := v.c.tasks.Wait(ctx, &tasks.WaitRequest{ContainerID: v.id})
		ready(err)
		if step == "stopped" {
			break
		}
		during(func() error {
			_, err := v.c.tasks.Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: v.id})
			return err
		}, nil)
		return task.Status_STOPPED
	}
	kill()
	if step == "stopped" {
		return task.Status_STOPPED
	}
	return task.Status_RUNNING
}

// exec starts a process in the container.
func (v *victim) exec(ctx context.Context, id string, args ...string) error {
	_, err := v.c.tasks.Exec(ctx, &tasks.ExecProcessRequest{ContainerID: v.id, ExecID: id, Spec: processSpec(args...)})
	if err == nil {
		_, err = v.c.tasks.Start(ctx, &tasks.StartRequest{ContainerID: v.id, ExecID: id})
	}
	return err
}

func processSpec(args ...string) *anypb.Any {
	return &anypb.Any{
		TypeUrl: "types.containerd.io/opencontainers/runtime-spec/1/Process",
		Value:   encode(&specs.Process{Args: args, Cwd: "/", Env: []string{"PATH=/bin"}}),
	}
}

// state returns the state of the task and its exit code. Without a task it is UNKNOWN.
func (v *victim) state(t *testing.T) (task.Status, uint32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(in(t.Context()), 10*time.Second)
	defer cancel()
	r, err := v.c.tasks.Get(ctx, &tasks.GetRequest{ContainerID: v.id})
	if err != nil {
		return task.Status_UNKNOWN, 0
	}
	return r.Process.Status, r.Process.ExitStatus
}

// kill kills a program. One that has ended already is no error at steps where it may have.
func (v *victim) kill(t *testing.T, party, step string) {
	t.Helper()
	signal := func(pid int, sig syscall.Signal) {
		t.Helper()
		if pid == 0 && step != "deleting" && step != "killing" && step != "creating" && step != "booting" {
			t.Errorf("find the %s: no such process", party)
		}
		if pid != 0 {
			syscall.Kill(pid, sig)
		}
	}
	shim, monitor := v.d.program(v.id, true), v.d.program(v.id, false)
	switch party {
	case "shim":
		signal(shim, syscall.SIGKILL)
	case "shim by SIGTERM":
		signal(shim, syscall.SIGTERM)
	case "shim that is stopped":
		signal(shim, syscall.SIGSTOP)
		ctx, cancel := context.WithTimeout(in(t.Context()), 100*time.Millisecond)
		defer cancel()
		v.c.tasks.Get(ctx, &tasks.GetRequest{ContainerID: v.id})
		signal(shim, syscall.SIGKILL)
	case "monitor":
		signal(monitor, syscall.SIGKILL)
	case "stopped monitor":
		signal(monitor, syscall.SIGSTOP)
		ctx, cancel := context.WithTimeout(in(t.Context()), ctrLimit)
		defer cancel()
		request := &tasks.KillRequest{ContainerID: v.id, Signal: uint32(syscall.SIGKILL)}
		if _, err := v.c.tasks.Kill(ctx, request); err != nil && status.Code(err) != codes.NotFound {
			t.Errorf("kill the task of a machine that hangs: %v", err)
		}
	case "guest":
		ctx, cancel := context.WithTimeout(in(t.Context()), ctrLimit)
		defer cancel()
		v.exec(ctx, "panic", "sh", "-c", "mount -t proc proc /tmp && echo c >/tmp/sysrq-trigger")
	case "virtiofsd":
		o := v.d.options
		for _, pid := range processesOf(o.place(v.id), v.id) {
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if strings.HasPrefix(string(name), "virtiofsd") {
				signal(pid, syscall.SIGKILL)
			}
		}
	default:
		v.d.stop()
		if strings.HasSuffix(party, "monitor") {
			signal(monitor, syscall.SIGKILL)
		}
		if strings.HasSuffix(party, "shim") {
			signal(shim, syscall.SIGKILL)
		}
		if err := v.d.start(); err != nil {
			t.Fatal(err)
		}
	}
}

// remove kills and deletes the task, if there is one, and the container.
func (v *victim) remove(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(in(t.Context()), ctrLimit)
	defer cancel()
	await(t, "delete the task", func() bool {
		if state, _ := v.state(t); state == task.Status_UNKNOWN {
			return true
		}
		v.c.tasks.Kill(ctx, &tasks.KillRequest{ContainerID: v.id, Signal: uint32(syscall.SIGKILL)})
		v.c.tasks.Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: v.id})
		return false
	})
	v.d.must(t, "container", "rm", v.id)
}

// leftovers returns what else is left of a container: sockets, cgroups and loop devices.
func leftovers(place, bundle, id string) (list []string) {
	sockets, _ := os.ReadFile("/proc/net/unix")
	for line := range strings.Lines(string(sockets)) {
		if strings.Contains(line, place) || strings.Contains(line, bundle+"/") {
			list = append(list, "socket "+strings.TrimSpace(line))
		}
	}
	devices, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range devices {
		if b, _ := os.ReadFile(file); strings.Contains(string(b), place) || strings.Contains(string(b), bundle) {
			list = append(list, file)
		}
	}
	for _, pattern := range []string{"/sys/fs/cgroup/%s", "/sys/fs/cgroup/*/%s", "/sys/fs/cgroup/*/*/%s"} {
		groups, _ := filepath.Glob(fmt.Sprintf(pattern, id))
		list = append(list, groups...)
	}
	return list
}
