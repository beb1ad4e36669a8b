package client

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"wick/framing"
)

// KernelRecord is a record of the guest kernel's log.
type KernelRecord struct {
	// Level is 0 (emergency) to 7 (debug), and Facility 0 for the kernel's own records;
	// syslog(3).
	Level, Facility int
	// Sequence is the kernel's number of the record.
	Sequence uint64
	// Time is the time since the guest booted.
	Time time.Duration
	// Lost is how many records before this one the kernel overwrote before they could be sent.
	Lost uint64
	// Text is the message, without a newline at its end. It may have several lines.
	Text string
	// Dictionary has further properties as KEY=value, such as SUBSYSTEM=pci; often it is empty.
	Dictionary []string
}

// KernelLogOptions say what to read of the kernel's log.
type KernelLogOptions struct {
	// New leaves out the records that the log has already.
	New bool
	// Follow waits for further records, until the context ends.
	Follow bool
}

// CountIO has the receipts of processes that this connection starts from now on tell their I/O.
//
// The error is an [*UnsupportedError], or wraps the context's, [ErrClosed], a [*ConnError] or a
// [*RemoteError].
func (c *Client) CountIO(ctx context.Context) error {
	_, err := c.operate(ctx, framing.FeatureEvidence, "count I/O", framing.HeaderSize, func(dst []byte, seq uint32) []byte {
		return framing.AppendFrame(dst, framing.TypeAccount, seq, nil)
	})
	return err
}

// kernelLogWindow is the credit of a kernel log, in bytes.
const kernelLogWindow = 64 << 10

// KernelLog yields the records of the guest kernel's log, the oldest first. If the loop is slow,
// the kernel keeps the records until newer ones overwrite them. The next record then has Lost.
//
// If the sequence fails, its last value is an error: an [*UnsupportedError], an [*fs.PathError] if
// the guest cannot read the log, the context's error, a [*ConnError] or a [*RemoteError].
func (c *Client) KernelLog(ctx context.Context, o KernelLogOptions) iter.Seq2[KernelRecord, error] {
	return func(yield func(KernelRecord, error) bool) {
		d, err := c.downloadFor(ctx, framing.FeatureEvidence, "read", "/dev/kmsg", kernelLogWindow, 0, func(dst []byte, seq, credit uint32) []byte {
			return framing.AppendKernelLog(dst, seq, framing.KernelLog{New: o.New, Follow: o.Follow, Credit: credit})
		})
		if err != nil {
			yield(KernelRecord{}, err)
			return
		}
		defer d.Close()
		r := bufio.NewReaderSize(d, framing.MaxKernelRecord)
		for {
			record, err := c.readKernelRecord(r)
			if err == io.EOF {
				return
			}
			if !yield(record, err) || err != nil {
				return
			}
		}
	}
}

// readKernelRecord reads a record. The error is io.EOF at the end.
func (c *Client) readKernelRecord(r *bufio.Reader) (KernelRecord, error) {
	// The counts of the two texts tell how long the record is.
	const textAt = framing.KernelRecordSize - 4
	size := textAt + 2
	for range 2 {
		b, err := r.Peek(size)
		if err == io.EOF && len(b) > 0 {
			return KernelRecord{}, c.broken(&framing.PayloadError{Type: framing.TypeKernelLog, Reason: "a record is cut short"})
		}
		if err != nil {
			return KernelRecord{}, err
		}
		if size == textAt+2 {
			size += int(binary.BigEndian.Uint16(b[textAt:])) + 2
		} else {
			size += int(binary.BigEndian.Uint16(b[size-2:]))
		}
		if size > framing.MaxKernelRecord {
			return KernelRecord{}, c.broken(&framing.PayloadError{Type: framing.TypeKernelLog, Reason: "a record is too long"})
		}
	}
	b, err := r.Peek(size)
	if err != nil {
		if err == io.EOF {
			err = c.broken(&framing.PayloadError{Type: framing.TypeKernelLog, Reason: "a record is cut short"})
		}
		return KernelRecord{}, err
	}
	w, _, err := framing.CutKernelRecord(b)
	if err != nil {
		return KernelRecord{}, c.broken(err)
	}
	record := kernelRecordOf(&w)
	r.Discard(size)
	return record, nil
}

func kernelRecordOf(w *framing.KernelRecord) KernelRecord {
	r := KernelRecord{
		Level: int(w.Priority & 7), Facility: int(w.Priority >> 3), Sequence: w.Sequence,
		Time: time.Duration(min(w.TimeUS, 1<<53)) * time.Microsecond, Lost: w.Lost, Text: unescapeKernel(w.Text),
	}
	for line := range strings.Lines(string(w.Dictionary)) {
		line = strings.TrimSuffix(strings.TrimPrefix(line, " "), "\n")
		if line != "" {
			r.Dictionary = append(r.Dictionary, unescapeKernel([]byte(line)))
		}
	}
	return r
}

// unescapeKernel replaces \xHH by the byte.
func unescapeKernel(b []byte) string {
	text := string(b)
	if !strings.Contains(text, `\x`) {
		return text
	}
	var s strings.Builder
	for i := 0; i < len(text); i++ {
		if i+4 <= len(text) && text[i:i+2] == `\x` {
			if c, err := strconv.ParseUint(text[i+2:i+4], 16, 8); err == nil {
				s.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		s.WriteByte(text[i])
	}
	return s.String()
}
