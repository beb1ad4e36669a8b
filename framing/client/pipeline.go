package client

import (
	"context"
	"sync"
)

// inFlight is how many small requests of one operation are sent before the first reply. So many
// files cost one round trip.
const inFlight = 16

// A pipeline runs functions concurrently, at most inFlight of them. The first error ends it.
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

// do runs f as soon as fewer than inFlight run. After an error it does nothing.
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

// fail ends it with an error.
func (p *pipeline) fail(err error) { p.cancel(err) }

// drained waits until no function runs, and returns the first error.
func (p *pipeline) drained() error {
	p.work.Wait()
	return context.Cause(p.ctx)
}

// wait is drained, and ends the pipeline.
func (p *pipeline) wait() error {
	err := p.drained()
	p.cancel(nil)
	return err
}
