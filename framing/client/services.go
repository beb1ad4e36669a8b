package client

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"syscall"

	"wick/framing"
)

// Service is a program that the guest starts by itself.
type Service struct {
	Name string
	// State is waiting, starting, ready, stopping, backing-off, ended or failed.
	State string
	// Waits is what a service in the state waiting waits for: host, or the name of another.
	Waits string
	// PID is its process while it runs, and otherwise 0.
	PID uint32
	// Restarts is how often it was started again.
	Restarts int
	// Code is the exit code of its last end, if Ended says that there was one.
	Code  int
	Ended bool
	// Error says why it was not started.
	Error string
	// Status is what its process says of itself.
	Status string
}

// ID returns the id of the process, for [Client.Attach].
func (s *Service) ID() uint64 { return framing.ServiceID(s.Name) }

// Services lists the services of the guest, the workload first.
//
// The error is an [*UnsupportedError] if the guest has no services, or wraps the context's,
// [ErrClosed], a [*ConnError] or a [*RemoteError].
func (c *Client) Services(ctx context.Context) ([]Service, error) {
	encode := func(dst []byte, seq uint32) []byte { return framing.AppendServices(dst, seq, false) }
	call, err := c.request(ctx, framing.FeatureServices, framing.TypeFacts, framing.HeaderSize+1, encode)
	if err != nil {
		return nil, fmt.Errorf("services: %w", err)
	}
	defer call.release()
	if call.isDone {
		return nil, opError("services", &call.reply.done)
	}
	list, err := parseServices(call.payload)
	if err != nil {
		return nil, c.broken(err)
	}
	return list, nil
}

// parseServices collects the facts of each service. It skips those that it does not know.
func parseServices(payload []byte) (list []Service, err error) {
	facts, err := framing.ParseFacts(payload)
	if err != nil {
		return nil, err
	}
	for fact, text := range facts.All {
		full, value := string(fact), string(text)
		name, kind, ok := strings.Cut(strings.TrimPrefix(full, "service."), ".")
		if !ok {
			continue
		}
		if n := len(list); n == 0 || list[n-1].Name != name {
			list = append(list, Service{Name: name})
		}
		s := &list[len(list)-1]
		switch kind {
		case "state":
			s.State = value
		case "waits":
			s.Waits = value
		case "pid":
			pid, _ := strconv.ParseUint(value, 10, 32)
			s.PID = uint32(pid)
		case "restarts":
			s.Restarts, _ = strconv.Atoi(value)
		case "code":
			s.Code, _ = strconv.Atoi(value)
			s.Ended = true
		case "error":
			s.Error = value
		case "status":
			s.Status = value
		}
	}
	return list, nil
}

// WatchServices yields the list of [Client.Services] at once, and again after each change. A slow
// loop sees only the newest list.
//
// The last value is an error: the context's, or one as for Services.
func (c *Client) WatchServices(ctx context.Context) iter.Seq2[[]Service, error] {
	w := listWatch[Service]{op: "watch services", reply: framing.TypeFacts, parse: parseServices}
	return w.begin(ctx, c, framing.FeatureServices, func(dst []byte, seq uint32) []byte {
		return framing.AppendServices(dst, seq, true)
	})
}

// StartService starts a service that does not run, whatever it waits for. One that is being stopped
// is started once it has ended.
//
// The error is as for Services, or wraps a [*OpError]. ENOENT means that there is no such service,
// EALREADY that it runs, and EBUSY that the machine is going down.
func (c *Client) StartService(ctx context.Context, name string) error {
	return c.controlService(ctx, framing.ServiceStart, 0, name)
}

// StopService sends a service the signal that ends it, and kills it after its time for that. It is
// not started again until StartService. It does not wait for the end. The error is as for
// StartService.
func (c *Client) StopService(ctx context.Context, name string) error {
	return c.controlService(ctx, framing.ServiceStop, 0, name)
}

// RestartService stops a service if it runs, and starts it. The error is as for StartService.
func (c *Client) RestartService(ctx context.Context, name string) error {
	return c.controlService(ctx, framing.ServiceRestart, 0, name)
}

// SignalService sends a signal to the process group of a service. The error is as for StartService,
// or ESRCH if the service does not run.
func (c *Client) SignalService(ctx context.Context, name string, sig syscall.Signal) error {
	return c.controlService(ctx, framing.ServiceSignal, sig, name)
}

func (c *Client) controlService(
	ctx context.Context, op framing.ServiceOp, sig syscall.Signal, name string,
) error {
	request := framing.Service{Op: op, Signal: uint8(sig), Name: []byte(name)}
	size := framing.HeaderSize + 4 + len(name)
	_, err := c.operate(ctx, framing.FeatureServices, "service", size, func(dst []byte, seq uint32) []byte {
		return framing.AppendService(dst, seq, &request)
	})
	return err
}
