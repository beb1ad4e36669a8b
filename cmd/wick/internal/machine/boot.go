package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"wick/framing/client"
)

// BootError reports a machine that did not become ready. Console is its last output.
type BootError struct {
	Err     error
	Console []string
}

func (e *BootError) Error() string { return "boot the machine: " + e.Err.Error() }
func (e *BootError) Unwrap() error { return e.Err }

// Guest is a booted machine and the connection to its agent. Close ends it.
type Guest struct {
	*Machine
	Client *client.Client

	closed sync.Once
	tidy   func()
}

// Boot boots a machine. The caller closes the Guest. ctx limits the boot and not the machine.
//
// The error is a [*BootError] if the machine did not come up, and a [*vmm.BackendError] if this
// host cannot run it. After an error nothing of the machine is left, unless Keep is set.
func Boot(ctx context.Context, o Options, ui UI) (_ *Guest, err error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	var config Config
	if o.From == "" {
		if config, err = o.build(ctx, ui); err != nil {
			return nil, err
		}
		if err := fits(&config.Spec); err != nil {
			return nil, err
		}
	}
	dir, err := newDirIn(o.Dir, o.Keep)
	if err != nil {
		return nil, err
	}
	tidy := func() {
		if o.Keep {
			ui.Event(Event{Stage: Kept, Detail: dir.path})
			return
		}
		dir.remove()
	}
	defer func() {
		if err != nil {
			tidy()
		}
	}()
	if o.From != "" {
		config, err = o.load(ctx, dir)
	} else if err = o.disks(ctx, dir, &config.Spec); err == nil {
		err = o.volumes(ctx, dir, &config, ui)
	}
	if err != nil {
		return nil, err
	}
	if o.Keep {
		log, err := newConsoleLog(dir.file("console.log"))
		if err != nil {
			return nil, fmt.Errorf("keep the console: %w", err)
		}
		remove := tidy
		tidy = func() { log.Close(); remove() }
		config.Console = log
		if o.Console != nil {
			config.Console = io.MultiWriter(log, o.Console)
		}
	}
	if o.ConsoleLog != nil {
		config.Console = o.ConsoleLog
	}
	config.Dir = dir.path
	config.Notice = func(text string) { ui.Event(Event{Stage: Notice, Detail: text}) }
	if text := slow(&config); text != "" {
		config.Notice(text)
	}
	g, err := o.start(ctx, config, ui)
	if err != nil {
		return nil, err
	}
	g.tidy = tidy
	return g, nil
}

// start starts the machine and connects to its agent.
func (o *Options) start(ctx context.Context, config Config, ui UI) (*Guest, error) {
	ui.Event(Event{Stage: Booting, Detail: config.Choice.Engine()})
	began := time.Now()
	boot, cancel := context.WithTimeout(ctx, o.BootLimit)
	defer cancel()
	m, err := Start(boot, config)
	if err != nil {
		failed, ok := errors.AsType[*BootError](err)
		if !ok {
			failed = &BootError{Err: err}
		}
		if boot.Err() != nil && ctx.Err() == nil {
			failed.Err = fmt.Errorf("%w (it did not answer within %v)", failed.Err, o.BootLimit)
		}
		return nil, failed
	}
	if o.Started != nil {
		o.Started(m)
	}
	c, err := m.Dial(ctx, o.BootLimit)
	if err != nil {
		if failed, ok := errors.AsType[*BootError](err); ok {
			failed.Err = m.suspect(failed.Err)
		}
		m.Kill()
		return nil, err
	}
	if o.From != "" {
		if err := o.identify(ctx, m, c, ui); err != nil {
			c.Close()
			m.Kill()
			return nil, err
		}
	}
	ui.Event(Event{Stage: Ready, Took: time.Since(began)})
	return &Guest{Machine: m, Client: c}, nil
}

// Close kills the machine if it has not ended, and removes what it left. It is idempotent.
func (g *Guest) Close() {
	g.closed.Do(func() {
		g.Client.Close()
		g.Kill()
		g.tidy()
	})
}
