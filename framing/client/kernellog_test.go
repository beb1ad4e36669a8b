package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"wick/framing"
)

// kernelRecords reads a kernel log to its end or first error.
func kernelRecords(ctx context.Context, c *Client, o KernelLogOptions) (all []KernelRecord, err error) {
	for r, err := range c.KernelLog(ctx, o) {
		if err != nil {
			return all, err
		}
		all = append(all, r)
	}
	return all, nil
}

// TestKernelLog reads records that come in pieces, and as long as they can be.
func TestKernelLog(t *testing.T) {
	c, p := pair(t)
	ctx := testContext(t)
	got := background(func() ([]KernelRecord, error) { return kernelRecords(ctx, c, KernelLogOptions{New: true}) })
	p.hello(everything)
	seq, payload := p.expect(framing.TypeKernelLog)
	k, err := framing.ParseKernelLog(payload)
	if err != nil || !k.New || k.Follow || k.Credit < framing.MaxKernelRecord {
		t.Errorf("asked for %+v, %v", k, err)
	}
	long := strings.Repeat("z", 8<<10)
	var content []byte
	for _, r := range []framing.KernelRecord{
		{Priority: 30, Sequence: 9, TimeUS: 1500000, Text: []byte(`a \x5c\x0ab \xzz \x`), Dictionary: []byte(" SUBSYSTEM=net\n K=\\x5c\n")},
		{Priority: 7, Sequence: 12, Lost: 2, Text: []byte(long)},
	} {
		content = framing.AppendKernelRecord(content, &r)
	}
	for _, piece := range [][]byte{content[:1], content[1:70], content[70:]} {
		p.send(append(framing.AppendOutputHead(nil, seq, framing.StreamOutput, len(piece)), piece...))
	}
	p.send(framing.AppendDone(nil, seq, 0, 0, ""))
	want := []KernelRecord{
		{Level: 6, Facility: 3, Sequence: 9, Time: 1500000000, Text: "a \\\nb \\xzz \\x", Dictionary: []string{"SUBSYSTEM=net", `K=\`}},
		{Level: 7, Sequence: 12, Lost: 2, Text: long},
	}
	if all := (<-got).must(t); fmt.Sprintf("%+v", all) != fmt.Sprintf("%+v", want) {
		t.Errorf("got %+v, want %+v", all, want)
	}
}

// TestKernelLogFails has a guest refuse, send what is no record, and end in the middle of one.
func TestKernelLogFails(t *testing.T) {
	record := framing.AppendKernelRecord(nil, &framing.KernelRecord{Text: []byte("text")})
	huge := framing.AppendKernelRecord(nil, &framing.KernelRecord{Text: make([]byte, 9<<10)})
	for name, tt := range map[string]struct {
		content []byte
		errno   syscall.Errno
		want    func(error) bool
	}{
		"refused": {nil, syscall.EPERM, func(err error) bool {
			failed, ok := errors.AsType[*fs.PathError](err)
			return ok && failed.Path == "/dev/kmsg" && errors.Is(err, syscall.EPERM)
		}},
		"cut short in its head":  {record[:10], 0, isType[*ConnError]},
		"cut short in its texts": {record[:len(record)-3], 0, isType[*ConnError]},
		"too long":               {huge[:64], 0, isType[*ConnError]},
	} {
		t.Run(name, func(t *testing.T) {
			c, p := pair(t)
			ctx := testContext(t)
			got := background(func() ([]KernelRecord, error) { return kernelRecords(ctx, c, KernelLogOptions{}) })
			p.hello(everything)
			seq, _ := p.expect(framing.TypeKernelLog)
			if tt.content != nil {
				p.send(append(framing.AppendOutputHead(nil, seq, framing.StreamOutput, len(tt.content)), tt.content...))
			}
			if name != "too long" { // the connection may have ended by then
				p.send(framing.AppendDone(nil, seq, uint32(tt.errno), 0, ""))
			}
			if err := (<-got).err; err == nil || !tt.want(err) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// TestReceiptEvidence has a receipt with a victim and I/O, and one of a start that failed.
func TestReceiptEvidence(t *testing.T) {
	r := receiptOf(&framing.Exited{Reason: framing.ReasonOutOfMemory, Message: []byte("process 7"), HasIO: true, IO: framing.IO{Read: 1, Writes: 2}})
	if r.Victim != "process 7" || r.IO == nil || *r.IO != (framing.IO{Read: 1, Writes: 2}) {
		t.Errorf("got %+v", r)
	}
	if r := receiptOf(&framing.Exited{Reason: framing.ReasonNotStarted, Message: []byte("why")}); r.Victim != "" || r.IO != nil {
		t.Errorf("of a failed start: %+v", r)
	}
}
