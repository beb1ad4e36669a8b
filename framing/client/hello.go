package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"wick/framing"
)

// Features are the parts of the extension that a guest has.
type Features = framing.Features

// A Fact is a property of the guest, as text.
type Fact struct{ Name, Value string }

// Hello is the guest's answer to hello.
type Hello struct {
	// Version is the version of the extension that both sides speak.
	Version uint16
	// Features are what this guest can do.
	Features Features
	// Epoch is how many restores of its machine the guest knows of.
	Epoch uint64
	// Facts are in the guest's order. Names are lower case with dots, such as "kernel",
	// "memory.total_kib", "mount./".
	Facts []Fact
}

// Fact returns the value of the first fact with that name.
func (h *Hello) Fact(name string) (value string, ok bool) {
	for _, f := range h.Facts {
		if f.Name == name {
			return f.Value, true
		}
	}
	return "", false
}

// Under yields the facts whose names begin with prefix, and cuts prefix off: for "mount." the names
// are "/", "/proc", and so on.
func (h *Hello) Under(prefix string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, f := range h.Facts {
			if name, ok := strings.CutPrefix(f.Name, prefix); ok && !yield(name, f.Value) {
				return
			}
		}
	}
}

// An UnsupportedError is a request that the guest does not support. It is an
// [errors.ErrUnsupported].
type UnsupportedError struct {
	// Feature is what the guest lacks, in words; empty if it lacks the whole extension.
	Feature string
}

// Error says whether a feature or the whole extension is missing.
func (e *UnsupportedError) Error() string {
	if e.Feature == "" {
		return "the guest's agent is older than the extension; it can only exec, spawn and write files"
	}
	return "the guest's agent does not support " + e.Feature
}

// Unwrap returns errors.ErrUnsupported.
func (e *UnsupportedError) Unwrap() error { return errors.ErrUnsupported }

// featureNames has the features in words.
var featureNames = map[Features]string{
	framing.FeatureProcesses: "interactive processes",
	framing.FeatureTerminals: "terminals",
	framing.FeatureFiles:     "files beyond write_file",
	framing.FeatureStats:     "figures",
	framing.FeaturePressure:  "pressure events",
	framing.FeatureRestore:   "setting its clock and entropy",
	framing.FeatureFreeze:    "freezing its file system",
	framing.FeaturePower:     "ending its machine",
	framing.FeatureCopies:    "holes, nodes and extended attributes",
	framing.FeatureManners:   "waiting for output that other processes hold",
	framing.FeatureForward:   "forwarding connections",
	framing.FeaturePorts:     "listing its listening ports",
	framing.FeatureNetwork:   "configuring its network",
	framing.FeatureEvidence:  "its kernel's log and counting I/O",
	framing.FeatureDisks:     "mounts and disks",
	framing.FeatureWatch:     "watching files",
	framing.FeatureIdentity:  "an identity after a restore, and freezing its commands",
	framing.FeatureServices:  "services",
	framing.FeatureConfigure: "being configured by its host",
	framing.FeatureConfine:   "confining processes",
}

// Hello asks the guest what it is and can do, and returns the current answer. All other calls of
// the extension say hello themselves if that has not been done on the connection.
//
// The error is an [*UnsupportedError], or wraps the context's, [ErrClosed], a [*ConnError], or a
// [*RemoteError].
func (c *Client) Hello(ctx context.Context) (*Hello, error) {
	call := newCall(framing.TypeHelloResult)
	defer call.release()
	err := c.roundTrip(ctx, call, framing.HeaderSize+2, func(dst []byte, seq uint32) []byte {
		return framing.AppendHello(dst, seq, framing.Version)
	})
	if refused, ok := errors.AsType[*RemoteError](err); ok && strings.HasPrefix(refused.Message, "unknown message type") {
		err = &UnsupportedError{}
	}
	if err != nil {
		return nil, fmt.Errorf("hello: %w", err)
	}
	if call.isDone {
		return nil, opError("hello", &call.reply.done)
	}
	var r framing.HelloResult
	if err := framing.ParseHelloResult(call.payload, &r); err != nil {
		return nil, c.broken(err)
	}
	h := &Hello{Version: r.Version, Features: r.Features, Epoch: r.Epoch}
	for name, value := range r.Facts.All {
		h.Facts = append(h.Facts, Fact{string(name), string(value)})
	}
	c.mu.Lock()
	c.hello = h
	c.mu.Unlock()
	return h, nil
}

// Require says hello, unless that was done, and returns an [*UnsupportedError] if the guest lacks
// one of the features. Calls that need a feature do the same themselves.
func (c *Client) Require(ctx context.Context, features Features) error {
	return c.need(ctx, features)
}

// need says hello unless that was done. It returns an *UnsupportedError if the guest lacks a
// feature.
func (c *Client) need(ctx context.Context, features Features) error {
	h, err := c.helloOnce(ctx)
	if err != nil {
		return err
	}
	for f := Features(1); f != 0; f <<= 1 {
		if features&f&^h.Features != 0 {
			return &UnsupportedError{featureNames[f]}
		}
	}
	return nil
}

// helloOnce says hello when the connection first needs it.
func (c *Client) helloOnce(ctx context.Context) (*Hello, error) {
	if h := c.said(); h != nil {
		return h, nil
	}
	select {
	case c.saying <- struct{}{}:
		defer func() { <-c.saying }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if h := c.said(); h != nil {
		return h, nil
	}
	return c.Hello(ctx)
}

// said returns the last answer to a hello, or nil.
func (c *Client) said() *Hello {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hello
}

// broken ends the connection, because the guest sent something that cannot be parsed, and returns
// why.
func (c *Client) broken(err error) error {
	err = &ConnError{Err: &ProtocolError{Err: err}}
	c.end(err)
	return err
}

// request makes a request of the extension, whose reply is of type want or a done. If there is no
// error the caller must release the call.
func (c *Client) request(ctx context.Context, f Features, want framing.Type, size int, encode func([]byte, uint32) []byte) (*call, error) {
	if err := c.need(ctx, f); err != nil {
		return nil, err
	}
	call := newCall(want)
	if err := c.roundTrip(ctx, call, size, encode); err != nil {
		call.release()
		return nil, err
	}
	return call, nil
}

// operate makes a request that is answered by done, and returns its value. op names it in errors.
func (c *Client) operate(ctx context.Context, f Features, op string, size int, encode func([]byte, uint32) []byte) (uint64, error) {
	call, err := c.request(ctx, f, framing.TypeDone, size, encode)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	defer call.release()
	return call.reply.done.Value, opError(op, &call.reply.done)
}
