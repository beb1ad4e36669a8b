package main_test

import (
	"fmt"
	"strings"
	"time"

	"wick/framing/wiretest"
)

// expectMany matches ran and outputs, each of which spans any number of frames.
func (r *run) expectMany(c *connection, want string) error {
	name, fs, err := r.expected(want)
	if err != nil {
		return err
	}
	if name == "outputs" {
		if err := r.outputs(c, fs); err != nil {
			return fmt.Errorf("want %s\n %w", want, err)
		}
		return nil
	}
	got, err := r.ran(c, string(fs.bytes("seq")))
	if err != nil {
		return fmt.Errorf("want %s\n got %w", want, err)
	}
	return r.matches(got, want)
}

// ran reads the remaining frames of a channel up to its exited. It returns them as one frame, with
// the fields of exited, and with stdout and stderr.
func (r *run) ran(c *connection, seq string) (*received, error) {
	all := map[string][]byte{}
	for {
		got, err := r.receive(c)
		if err != nil {
			return nil, err
		}
		if string(got.fields["seq"]) != seq {
			return nil, fmt.Errorf("while a process of seq %s ran: %s", seq, got)
		}
		switch got.name {
		case "started", "credit", "close":
		case "output":
			stream := string(got.fields["stream"])
			all[stream] = append(all[stream], got.fields["data"]...)
		case "exited":
			got.name = "ran"
			got.put("stdout", all["1"])
			got.put("stderr", all["2"])
			return got, nil
		default:
			return nil, fmt.Errorf("while a process ran: %s", got)
		}
	}
}

// outputs joins the output of a stream from as many frames as it takes. It stops when it has as
// many bytes as the value of data, or when the expression matches.
func (r *run) outputs(c *connection, fs fieldSet) error {
	var data []byte
	var last error
	want := field{}
	for _, f := range fs {
		if f.name == "data" {
			want = f
		}
	}
	for want.op == "~" || len(data) < len(want.value) {
		got, err := r.receive(c)
		if err != nil {
			return fmt.Errorf("%w, after %s (%v)", err, quoted(data), last)
		}
		if got.name != "output" || string(got.fields["seq"]) != string(fs.bytes("seq")) ||
			string(got.fields["stream"]) != string(fs.bytes("stream")) {
			return fmt.Errorf("got %s, after %s", got, quoted(data))
		}
		data = append(data, got.fields["data"]...)
		if last = compare(want, data); last == nil {
			break
		}
	}
	return compare(want, data)
}

// chunks joins the stdout_chunks of a pid until it has len bytes, or as many as the value of data.
// With rest it stops before the next frame of another kind, and leaves that unread.
func (r *run) chunks(c *connection, want string) error {
	_, fs, err := r.expected(want)
	if err != nil {
		return err
	}
	var data []byte
	rest, toRest := field{}, false
	for _, f := range fs {
		if f.name == "rest" {
			rest, toRest = f, true
		}
	}
	most := fs.number("len", len(fs.bytes("data")))
	for toRest || len(data) < most {
		if toRest {
			c.SetReadDeadline(time.Now().Add(r.c.deadline))
			if head, err := c.r.Peek(5); err != nil {
				return fmt.Errorf("after %d bytes: %w", len(data), err)
			} else if head[4] != wiretest.StdoutChunk {
				break
			}
		}
		got, err := r.receive(c)
		if err != nil {
			return fmt.Errorf("want %s\n got %w, after %d bytes", want, err, len(data))
		}
		chunk := got.fields["data"]
		if got.name != "stdout_chunk" || string(got.fields["seq"]) != "0" || len(chunk) == 0 ||
			string(got.fields["pid"]) != string(fs.bytes("pid")) {
			return fmt.Errorf("want %s\n got %s, after %d bytes", want, got, len(data))
		}
		data = append(data, chunk...)
	}
	switch value, ok := fs.get("data"); {
	case toRest && rest.op != "":
		return compare(rest, data)
	case toRest || !ok && len(data) == most || ok && string(value) == string(data):
		return nil
	}
	return fmt.Errorf("want %s\n got %d bytes: %s", want, len(data), quoted(data))
}

// within skips at most that many frames before the wanted one.
func (r *run) within(c *connection, most int, want string) error {
	for passed := 0; ; passed++ {
		got, err := r.receive(c)
		if err != nil {
			return fmt.Errorf("want %s\n got %w", want, err)
		}
		last := r.matches(got, want)
		if last == nil {
			return nil
		}
		if passed == most {
			return fmt.Errorf("%d others came before it\n %w", passed, last)
		}
	}
}

// follow checks that a stream has no output after its close, and that exited follows both closes.
func (c *connection) follow(got *received) error {
	seq, stream := string(got.fields["seq"]), string(got.fields["stream"])
	if c.closed == nil {
		c.closed = map[string]string{}
	}
	switch got.name {
	case "started", "connected":
		c.closed[seq] = ""
	case "output", "close":
		if strings.Contains(c.closed[seq], stream) {
			return fmt.Errorf("of a stream that was closed: %s", got)
		}
		if got.name == "close" && stream != "0" {
			c.closed[seq] += stream
		}
	case "exited":
		if string(got.fields["reason"]) != "5" && len(c.closed[seq]) != 2 {
			return fmt.Errorf("it came with the streams %q closed: %s", c.closed[seq], got)
		}
	}
	return nil
}
