package main

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventsapi "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/ttrpc"
)

const (
	// eventsQueued is how many events are held while containerd does not take them. It may be
	// restarting.
	eventsQueued = 1024
	// eventTries is how often an event is sent, with eventPause between the tries.
	eventTries = 60
	eventPause = time.Second
	// eventsLast limits how long the last events may take at the shim's end.
	eventsLast = 3 * time.Second
)

// publisher sends events to containerd, in order.
type publisher struct {
	address, namespace string
	log                *slog.Logger
	queue              chan *types.Envelope
	once               sync.Once
	quit               chan struct{} // closed to give up events that cannot be sent
	done               chan struct{}
	client             *ttrpc.Client
}

func newPublisher(address, namespace string, log *slog.Logger) *publisher {
	p := &publisher{
		address: strings.TrimPrefix(address, "unix://"), namespace: namespace, log: log,
		queue: make(chan *types.Envelope, eventsQueued),
		quit:  make(chan struct{}), done: make(chan struct{}),
	}
	go p.run()
	return p
}

// publish queues an event. The oldest one gives way when the queue is full.
func (p *publisher) publish(topic string, event proto.Message) {
	value, err := packed(event)
	if err != nil {
		p.log.Error("encode an event", "topic", topic, "error", err)
		return
	}
	e := &types.Envelope{
		Timestamp: timestamppb.Now(), Namespace: p.namespace, Topic: topic, Event: value,
	}
	for {
		select {
		case p.queue <- e:
			return
		default:
		}
		select {
		case old := <-p.queue:
			p.log.Error("drop an event that containerd does not take", "topic", old.Topic)
		default:
		}
	}
}

// packed returns a message as containerd packs it: the type is its name alone.
func packed(m proto.Message) (*anypb.Any, error) {
	b, err := proto.Marshal(m)
	return &anypb.Any{TypeUrl: string(m.ProtoReflect().Descriptor().FullName()), Value: b}, err
}

func (p *publisher) run() {
	defer close(p.done)
	for e := range p.queue {
		if e == nil {
			return
		}
		p.send(e)
	}
}

func (p *publisher) send(e *types.Envelope) {
	var err error
	for range eventTries {
		if err = p.try(e); err == nil {
			return
		}
		select {
		case <-time.After(eventPause):
		case <-p.quit:
			return
		}
	}
	p.log.Error("drop an event", "topic", e.Topic, "error", err)
}

func (p *publisher) try(e *types.Envelope) error {
	if p.client == nil {
		conn, err := net.DialTimeout("unix", p.address, time.Second)
		if err != nil {
			return err
		}
		p.client = ttrpc.NewClient(conn)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err := eventsapi.NewEventsClient(p.client).Forward(ctx, &eventsapi.ForwardRequest{Envelope: e})
	if err != nil {
		p.client.Close()
		p.client = nil
	}
	return err
}

// close sends what is queued, for a limited time.
func (p *publisher) close() {
	p.once.Do(func() {
		timer := time.AfterFunc(eventsLast, func() { close(p.quit) })
		defer timer.Stop()
		select {
		case p.queue <- nil:
			<-p.done
		default: // full, so containerd is away
		}
	})
}
