package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"
)

// MaxPool limits the machines that a [Pool] keeps booted.
const MaxPool = 256

// ErrPoolClosed is the error of [Pool.Get] after [Pool.Close].
var ErrPoolClosed = errors.New("get a machine: the pool is closed")

// A Pool keeps machines booted ahead, so that [Pool.Get] need not wait for a boot. Each machine is
// used once: the pool never takes one back, and boots another in its place.
type Pool struct {
	config Config
	boot   func(context.Context, Config) (*Machine, error)
	ready  chan offer
	slots  chan struct{} // held while a machine boots

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup
}

// offer is a booted machine, or the error of a boot.
type offer struct {
	m   *Machine
	err error
}

// NewPool begins to boot n machines with a Config, at most one at a time for each processor of this
// host. The caller closes the pool.
//
// The error is a [*ConfigError] if n is not from 1 to [MaxPool], or if two machines cannot share
// what the Config names: an Overlay, a writable drive, a tap device. A Console gets the output of
// all machines, one write at a time.
func NewPool(c Config, n int) (*Pool, error) { return newPool(c, n, Boot) }

func newPool(
	c Config, n int, boot func(context.Context, Config) (*Machine, error),
) (*Pool, error) {
	o, err := c.engine()
	if err != nil {
		return nil, err
	}
	shared := ""
	for _, d := range c.Drives {
		if !d.ReadOnly {
			shared = "the writable drive " + d.Path
		}
	}
	for _, v := range c.Volumes {
		if v.Disk != "" && !v.ReadOnly {
			shared = "the writable disk " + v.Disk
		}
	}
	switch {
	case n < 1 || n > MaxPool:
		return nil, &ConfigError{fmt.Sprintf("a pool of %d machines: want 1 to %d", n, MaxPool)}
	case c.Overlay != "":
		shared = "the Overlay"
	case o.Net != nil && o.Net.Tap != "":
		shared = "the tap device " + o.Net.Tap
	}
	if shared != "" {
		return nil, &ConfigError{"the machines of a pool cannot share " + shared}
	}
	if c.Console != nil {
		c.Console = &lockedWriter{w: c.Console}
	}
	p := &Pool{
		config: c, boot: boot, ready: make(chan offer),
		slots: make(chan struct{}, min(n, runtime.NumCPU())),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	for range n {
		p.work.Go(p.serve)
	}
	return p, nil
}

// The pauses after boots that failed in a row.
const (
	firstPause = time.Second
	lastPause  = 30 * time.Second
)

// serve boots one machine after the other, and hands each to a Get.
func (p *Pool) serve() {
	for pause := firstPause; p.ctx.Err() == nil; {
		m, err := p.next()
		if err != nil {
			// The error is for a Get that waits. An old one would mislead a later Get.
			select {
			case p.ready <- offer{err: err}:
			case <-time.After(pause):
				pause = min(2*pause, lastPause)
			case <-p.ctx.Done():
			}
			continue
		}
		pause = firstPause
		select {
		case p.ready <- offer{m: m}:
		case <-m.Done(): // it ended unused
		case <-p.ctx.Done():
			m.Kill()
		}
	}
}

// next boots a machine when it is its turn.
func (p *Pool) next() (*Machine, error) {
	select {
	case p.slots <- struct{}{}:
	case <-p.ctx.Done():
		return nil, p.ctx.Err()
	}
	defer func() { <-p.slots }()
	return p.boot(p.ctx, p.config)
}

// Get returns a machine that no other caller gets. It waits for a boot if none is ready. The
// machine is the caller's, who calls Stop or Kill; Close does not end it.
//
// The error is as for [Boot] if a machine could not be booted, [ErrPoolClosed], or ctx's.
func (p *Pool) Get(ctx context.Context) (*Machine, error) {
	for {
		select {
		case o := <-p.ready:
			if o.err != nil {
				return nil, o.err
			}
			if o.m.ended() {
				continue
			}
			return o.m, nil
		case <-p.ctx.Done():
			return nil, ErrPoolClosed
		case <-ctx.Done():
			return nil, fmt.Errorf("get a machine: %w", ctx.Err())
		}
	}
}

// Close ends the boots, and kills the machines that no caller has got. When it returns, nothing of
// them is left. It is idempotent.
func (p *Pool) Close() {
	p.cancel()
	p.work.Wait()
}

// lockedWriter lets several machines write to one writer.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
