package client

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wick/framing"
	"wick/framing/client/clienttest"
)

// everything has all features.
const everything Features = 1<<32 - 1

// hello answers the next hello.
func (p *peer) hello(features Features) {
	p.t.Helper()
	seq, payload := p.expect(framing.TypeHello)
	if version, err := framing.ParseHello(payload); err != nil || version != framing.Version {
		p.t.Fatalf("hello %d, %v", version, err)
	}
	r := framing.HelloResult{Version: framing.Version, Features: features, Epoch: 7}
	r.Facts.Add("kernel", "6.1")
	r.Facts.Add("mount./", "overlay")
	r.Facts.Add("mount./proc", "proc")
	p.send(framing.AppendHelloResult(nil, seq, &r))
}

func TestHello(t *testing.T) {
	c, p := pair(t)
	ctx := testContext(t)
	h := background(func() (*Hello, error) { return c.Hello(ctx) })
	p.hello(framing.FeatureFiles)
	got := (<-h).must(t)
	kernel, ok := got.Fact("kernel")
	if got.Version != framing.Version || got.Features != framing.FeatureFiles || got.Epoch != 7 || kernel != "6.1" || !ok {
		t.Errorf("got %+v", got)
	}
	var mounts []string
	for at, what := range got.Under("mount.") {
		mounts = append(mounts, at+"="+what)
	}
	if s := strings.Join(mounts, " "); s != "/=overlay /proc=proc" {
		t.Errorf("mounts %s", s)
	}
	// The client does not send what the guest does not support.
	_, err := c.Stats(ctx)
	if lacking, ok := errors.AsType[*UnsupportedError](err); !ok || !errors.Is(err, errors.ErrUnsupported) || lacking.Feature == "" {
		t.Errorf("stats: %v", err)
	}
	cmd := c.Command("sh")
	cmd.Terminal = &Size{24, 80}
	if err := cmd.Start(ctx); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("start: %v", err)
	}
	p.conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if n, _ := p.conn.Read(make([]byte, 1)); n > 0 {
		t.Error("it was asked for")
	}
}

// TestHelloOnce checks that concurrent calls say hello once, and again if the first failed.
func TestHelloOnce(t *testing.T) {
	c, p := pair(t)
	ctx, cancel := context.WithCancel(testContext(t))
	first := background(func() (*Stats, error) { return c.Stats(ctx) })
	p.expect(framing.TypeHello)
	cancel()
	if err := (<-first).err; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if s, err := c.Stats(testContext(t)); err != nil || s.Uptime() != time.Second {
				t.Errorf("got %v, %v", s, err)
			}
		})
	}
	p.hello(everything)
	var f framing.Figures
	f.Add("uptime", 1e6)
	for range 10 {
		seq, _ := p.expect(framing.TypeStats)
		p.send(framing.AppendFigures(nil, seq, f))
	}
	all.Wait()
}

// TestWithoutExtension checks the errors with an old guest.
func TestWithoutExtension(t *testing.T) {
	g := &clienttest.Guest{Old: true}
	defer g.Close()
	path := filepath.Join(t.TempDir(), "s")
	if err := g.Listen(path); err != nil {
		t.Fatal(err)
	}
	c := (<-dialing(t, "unix:"+path)).must(t)
	ctx := testContext(t)
	for name, err := range map[string]error{
		"hello":  second(c.Hello(ctx)),
		"start":  c.Command("true").Start(ctx),
		"attach": second(c.Attach(ctx, 1, AttachOptions{})),
		"signal": c.SignalID(ctx, 1, syscall.SIGTERM, 0),
		"stat":   second(c.Stat(ctx, "/")),
		"list":   second(c.ReadDir(ctx, "/")),
		"mkdir":  c.Mkdir(ctx, "/x", 0o755),
		"write":  second(c.Create(ctx, "/x", WriteOptions{})),
		"stats":  second(c.Stats(ctx)),
		"thaw":   c.Thaw(ctx),
	} {
		if !isType[*UnsupportedError](err) || !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "older than the extension") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, err := range c.WatchPressure(ctx, PressureWatch{}) {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("pressure: %v", err)
		}
	}
	// The base protocol still works.
	if r, err := c.Exec(ctx, Exec{Command: "echo x"}); err != nil || string(r.Stdout) != "x\n" {
		t.Errorf("exec: %+v, %v", r, err)
	}
}
