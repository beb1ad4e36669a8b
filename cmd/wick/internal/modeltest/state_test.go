package modeltest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wick/framing/wiretest"
)

// target reaches and inspects the agent of a model.
type target interface {
	// dial opens a connection. Its next frame is ready.
	dial() (*net.UnixConn, error)
	// exact reports whether everything that the agent wrote before a connection ended can still be
	// read.
	exact() bool
	// reset resets all connections at once, as the restore of a snapshot does. It returns false if
	// the hosts must reset them.
	reset() bool
	// look runs lookScript on the agent's side.
	look(m *model) (string, error)
	// strays lists processes that the agent's commands have left, besides its children.
	strays() []string
	// pid returns the agent's pid on its own side.
	pid() string
}

// scale has the limits of the load on a model's machine.
type scale struct {
	hosts    int
	batch    int  // requests at a time
	output   int  // bytes of a command's output
	file     int  // bytes
	timeout  int  // ms, for commands that time out
	holds    int  // processes that wait for the end of the round
	huge     bool // files and outputs of 16 MiB, now and then
	rareSync int  // one in rareSync shutdowns is sent, because each syncs all disks of the machine
}

// model is an agent and what is known about it.
type model struct {
	t      *testing.T
	target target
	scale  scale
	seed   uint64
	dir    string // directory of the files, on the agent's side
	root   bool   // the agent runs as root
	hosts  []*host

	resets     sync.RWMutex // held to reset all connections
	seqs       atomic.Uint32
	tokens     atomic.Uint64
	connNumber atomic.Uint64
	holding    atomic.Int64
	running    atomic.Int64 // lost commands that may run on
	releasing  atomic.Bool  // processes that wait for the hold are being released
	keptMost   atomic.Int64 // processes that may be kept

	buffers, buffersMost atomic.Int64 // what the agent may hold for processes, now and at any time

	starts, attaches, receipts atomic.Int64

	orphanMu sync.Mutex
	orphans  []*proc // without a connection
	ghosts   []*proc // unknown to the agent so far; it may learn of them
	sweeper  *host

	mu      sync.Mutex
	err     error
	changed chan struct{} // closed and replaced when a reply has come
	failed  chan struct{} // closed with err set
	conns   map[*conn]bool
	watches map[string]*watch
	tardy   map[int]bool // by pid, those whose failed execve was not known when they were answered
	// lostTardy is how many replies were lost that may have been about such a process.
	lostTardy int
	silents   map[int]string // by pid, the exits that fit several watches, and where each came
	shared    []*file
	count     counts
	pings     []time.Duration

	control *conn
	first   figures // at rest, at the start
}

// counts counts the events of a model.
type counts struct {
	conns, replies, exits, resets, lostExits int
	starts, attaches, receipts               int64
}

// newModel returns the model of an agent and makes its files.
func newModel(t *testing.T, to target, dir string, s scale, seed uint64) *model {
	t.Helper()
	m := &model{
		t: t, target: to, scale: s, seed: seed, dir: dir,
		root:   to.pid() == "1" || os.Geteuid() == 0,
		failed: make(chan struct{}), changed: make(chan struct{}),
		conns: map[*conn]bool{}, watches: map[string]*watch{},
		tardy: map[int]bool{}, silents: map[int]string{},
	}
	for n := range s.hosts {
		h := &host{m: m, n: n, r: newRand(seed, uint64(n))}
		for k := range 3 {
			path := fmt.Sprintf("%s/file-%d-%d", dir, n, k)
			onDisk := path
			switch k {
			case 1:
				path = fmt.Sprintf("%s/link-%d", dir, n)
			case 2:
				path = fmt.Sprintf("%s/new-%d/a/b/c", dir, n)
				onDisk = path
			}
			h.files = append(h.files, newFile(path, onDisk, false))
		}
		for k := range 2 {
			h.changed = append(h.changed, &changed{path: fmt.Sprintf("%s/changed-%d-%d", dir, n, k), may: make([]version, 1)})
		}
		m.hosts = append(m.hosts, h)
	}
	for k := range 2 {
		path := fmt.Sprintf("%s/shared-%d", dir, k)
		m.shared = append(m.shared, newFile(path, path, true))
	}
	var setup strings.Builder
	fmt.Fprintf(&setup, "set -e; mkdir -p %s; cd %[1]s; mkfifo hold unread; echo >plain; ln -s loop loop%s", dir, m.stillSetup())
	for n := range s.hosts {
		fmt.Fprintf(&setup, "; ln -s file-%d-1 link-%[1]d", n)
	}
	m.sweeper = &host{m: m, n: -1, r: newRand(seed, 1<<35)}
	m.must(m.connect())
	_, err := m.run(setup.String())
	m.must(err)
	m.first, err = m.look()
	m.must(err)
	t.Cleanup(m.close)
	return m
}

func (m *model) must(err error) {
	m.t.Helper()
	if err != nil {
		if m.err != nil {
			err = m.err
		}
		m.t.Fatalf("%v\nthe seed is %d", err, m.seed)
	}
}

// close ends all connections of the model.
func (m *model) close() {
	m.mu.Lock()
	var conns []*conn
	for c := range m.conns {
		conns = append(conns, c)
	}
	m.mu.Unlock()
	for _, c := range conns {
		c.expect(endHard)
		c.c.Close()
		<-c.done
	}
}

// fail records the first error, which ends the run.
func (m *model) fail(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failLocked(fmt.Errorf(format, args...))
}

func (m *model) failLocked(err error) {
	if m.err == nil {
		m.err = err
		close(m.failed)
	}
}

func (m *model) hasFailed() bool {
	select {
	case <-m.failed:
		return true
	default:
		return false
	}
}

// token returns a word that no other request has.
func (m *model) token() string { return fmt.Sprintf("t%06d", m.tokens.Add(1)) }

// mayHold reports whether one more process may wait for the end of the round.
func (m *model) mayHold() bool { return m.holding.Add(1) <= int64(m.scale.holds) }

// ranOn counts a command that has lost its connection.
func (m *model) ranOn() { m.running.Add(1) }

// crowded reports whether a payload says that too many commands run, and whether that many may run
// because their connections were lost.
func (m *model) crowded(payload []byte) bool {
	text, err := parseText(payload)
	most := m.running.Load() + int64(m.scale.holds+m.scale.hosts*m.scale.batch*4)
	return err == nil && text == "too many commands running (limit 256)" && most > 256
}

func (m *model) replied() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count.replies++
	close(m.changed)
	m.changed = make(chan struct{})
}

// resetAll resets every connection at once.
func (m *model) resetAll(how func() end) {
	m.resets.Lock()
	defer m.resets.Unlock()
	m.mu.Lock()
	m.count.resets++
	var conns []*conn
	for c := range m.conns {
		conns = append(conns, c)
	}
	m.mu.Unlock()
	slices.SortFunc(conns, func(a, b *conn) int { return strings.Compare(a.name, b.name) })
	if m.target.exact() {
		for _, c := range conns {
			c.finish(how())
		}
		return
	}
	for _, c := range conns {
		c.broken()
	}
	m.doubtExits()
	if !m.target.reset() {
		for _, c := range conns {
			c.c.Close()
		}
	}
}

// connect opens the model's own connection and replaces the one before.
func (m *model) connect() error {
	if m.control != nil {
		m.control.finish(endHalf)
		select {
		case <-m.control.done:
		case <-time.After(patience):
			return errors.New("the model's own connection does not end")
		}
	}
	c, err := m.dial(fmt.Sprintf("connection %d of the model", m.connNumber.Add(1)))
	m.control = c
	if err != nil {
		return err
	}
	return c.opened()
}

// run runs a command on the model's own connection.
func (m *model) run(text string) (r result, err error) {
	seq := m.seqs.Add(1)
	q := &request{what: "exec of " + wiretest.Brief([]byte(text)), seq: seq, check: func(typ byte, payload []byte) error {
		if typ != wiretest.ExecResult {
			return fmt.Errorf("type 0x%02X %s", typ, wiretest.Brief(payload))
		}
		var err error
		r, err = parseResult(typ, payload)
		r.stdout, r.stderr = slices.Clone(r.stdout), slices.Clone(r.stderr)
		return err
	}}
	if err := m.ask(q, wiretest.Raw(wiretest.Exec, seq, execPayload(0, text, false, nil))); err != nil {
		return r, err
	}
	if r.code != 0 {
		return r, fmt.Errorf("%s: %v", text, r)
	}
	return r, nil
}

// ask sends a request on the model's own connection and waits for its reply.
func (m *model) ask(q *request, frame []byte) error {
	c := m.control
	if err := c.owe(q); err != nil {
		return err
	}
	if _, err := c.c.Write(frame); err != nil {
		return err
	}
	err := c.settled()
	if errors.Is(err, errEnded) && m.hasFailed() {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.err
	}
	return err
}

// barrier returns when the agent has answered everything that was sent on the model's own
// connection.
func (m *model) barrier() error {
	seq := m.seqs.Add(1)
	q := &request{what: "ping", seq: seq, check: wantEmpty(wiretest.Pong)}
	began := time.Now()
	if err := m.ask(q, wiretest.Raw(wiretest.Ping, seq, nil)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pings = append(m.pings, time.Since(began))
	return nil
}
