package client

import (
	"context"
	"sync"
)

// inFlight is how many small requests of one operation are under way at a time: so many files cost one round trip.
const inFlight = 16

// A pipeline does things at the same time, at most inFlight of them. The first error ends it.
type pipeline struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	turns  chan struct{}
	work   sync.WaitGroup
}

func newPipeline(ctx context.Context) *pipeline {
	p := &pipeline{turns: make(chan struct{}, inFlight)}
	p.ctx, p.cancel = context.WithCancelCause(ctx)
	return p
}

// do has f done, as soon as there is a turn for it. After an error it does nothing.
func (p *pipeline) do(f func(context.Context) error) {
	select {
	case p.turns <- struct{}{}:
	case <-p.ctx.Done():
		return
	}
	p.work.Go(func() {
		defer func() { <-p.turns }()
		if err := f(p.ctx); err != nil {
			p.fail(err)
		}
	})
}

// fail ends it.
func (p *pipeline) fail(err error) { p.cancel(err) }

// drained waits for what is under way, and returns the first error.
func (p *pipeline) drained() error {
	p.work.Wait()
	return context.Cause(p.ctx)
}

// wait is drained, after which nothing more is done.
func (p *pipeline) wait() error {
	err := p.drained()
	p.cancel(nil)
	return err
}
