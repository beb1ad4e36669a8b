package framing

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// feed runs a stream through a decoder as a connection does. It reads into a buffer of window
// bytes, in the sizes that cut returns, and moves what Next leaves to the front. It returns the
// reassembled frames, the last one perhaps incomplete, and the error that ended the stream. It
// fails the test if the decoder breaks a promise.
func feed(t *testing.T, stream []byte, window int, cut func() int) (frames []naiveFrame, err error) {
	t.Helper()
	d := Decoder{Window: window}
	buf := make([]byte, 0, window)
	for len(stream) > 0 {
		n := min(max(cut(), 1), len(stream), cap(buf)-len(buf))
		if n == 0 {
			t.Fatalf("window %d: stuck with %x", window, buf[:min(len(buf), 32)])
		}
		buf = append(buf, stream[:n]...)
		stream = stream[n:]
		taken := 0
		for {
			var p Part
			n, err := d.Next(buf[taken:], &p)
			if err != nil {
				if n != 0 {
					t.Fatalf("took %d bytes with an error", n)
				}
				if n, again := d.Next(buf[taken:], &p); n != 0 || again != err {
					t.Fatalf("after %v: took %d, %v", err, n, again)
				}
				return frames, err
			}
			if n == 0 {
				if p.Header != (Header{}) || p.Offset != 0 || p.Data != nil {
					t.Fatalf("took nothing, but the part is %+v", p)
				}
				break
			}
			taken += n
			frames = join(t, frames, &p, window)
			if d.Mid() == p.Last() {
				t.Fatalf("mid frame: %v, last: %v", d.Mid(), p.Last())
			}
		}
		if rest := buf[taken:]; len(rest) > HeaderSize {
			// Only a frame that fits the window may be awaited with so much of it there.
			if size := int(u32(rest)) - MinLength; HeaderSize+size > window {
				t.Fatalf("window %d: %d bytes of a frame with %d bytes of payload held back", window, len(rest), size)
			}
		}
		buf = buf[:copy(buf, buf[taken:])]
	}
	return frames, nil
}

// join adds a part to the frames, and checks that it is the next one.
func join(t *testing.T, frames []naiveFrame, p *Part, window int) []naiveFrame {
	t.Helper()
	if fits := HeaderSize+p.Size <= window; (p.First() && p.Last()) != fits {
		t.Fatalf("window %d: %d bytes at %d of %+v", window, len(p.Data), p.Offset, p.Header)
	}
	if cap(p.Data) != len(p.Data) {
		t.Fatalf("appending to a part of %v would reach the next", p.Type)
	}
	if p.First() {
		if len(frames) > 0 {
			if last := frames[len(frames)-1]; len(last.Payload) != last.Size {
				t.Fatalf("%v begins while %v has %d of %d bytes", p.Type, last.Type, len(last.Payload), last.Size)
			}
		}
		return append(frames, naiveFrame{p.Header, append([]byte{}, p.Data...)})
	}
	last := &frames[len(frames)-1]
	if p.Header != last.Header || p.Offset != len(last.Payload) || len(p.Data) == 0 {
		t.Fatalf("%d bytes at %d of %+v after %d of %+v",
			len(p.Data), p.Offset, p.Header, len(last.Payload), last.Header)
	}
	last.Payload = append(last.Payload, p.Data...)
	return frames
}

// checkStream compares feed's result with the naive reading of the stream.
func checkStream(t *testing.T, stream []byte, window int, cut func() int) {
	t.Helper()
	got, err := feed(t, stream, window, cut)
	want, bad := naiveFrames(stream)
	// A frame that fits the window is returned whole or not at all.
	if n := len(want); n > 0 {
		last := want[n-1]
		whole := len(last.Payload) == last.Size
		if !whole && (HeaderSize+last.Size <= window || len(last.Payload) == 0) {
			want = want[:n-1]
		}
	}
	same := slices.EqualFunc(want, got, func(a, b naiveFrame) bool {
		return a.Header == b.Header && bytes.Equal(a.Payload, b.Payload)
	})
	if !same {
		t.Fatalf("window %d: (-want +got)\n%s", window, cmp.Diff(want, got))
	}
	var length *LengthError
	switch {
	case bad < 0 && err != nil:
		t.Fatalf("window %d: %v", window, err)
	case bad >= 0 && (!errors.As(err, &length) || int64(length.Length) != bad):
		t.Fatalf("window %d: error %v, want length %d", window, err, bad)
	}
}

// every returns reads of n bytes.
func every(n int) func() int { return func() int { return n } }

// payloadOf returns a payload of n bytes in which neighbours differ.
func payloadOf(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func TestDecoderWindowEdges(t *testing.T) {
	t.Parallel()
	const window = 64
	// A frame of about the window's size is between two small ones.
	for size := window - HeaderSize - 2; size <= 3*window; size++ {
		stream := AppendFrame(nil, TypePing, 1, nil)
		stream = AppendFrame(stream, TypeExec, 2, payloadOf(size))
		stream = AppendFrame(stream, TypePing, 3, []byte{1})
		for _, n := range []int{1, 2, 3, 5, 8, 9, 10, 11, 31, 63, 64} {
			checkStream(t, stream, window, every(n))
		}
	}
}

func TestDecoderHandsOutWholeUpToTheWindow(t *testing.T) {
	t.Parallel()
	const window = 64
	var p Part

	// With exactly the window there is nothing before the last byte, then all.
	d := Decoder{Window: window}
	frame := AppendFrame(nil, TypeExec, 1, payloadOf(window-HeaderSize))
	for n := range frame {
		if taken, err := d.Next(frame[:n], &p); taken != 0 || err != nil {
			t.Fatalf("%d of %d bytes: took %d, %v", n, len(frame), taken, err)
		}
	}
	if n, err := d.Next(frame, &p); n != window || err != nil || !p.First() || !p.Last() || d.Mid() {
		t.Fatalf("took %d, %v: %+v", n, err, p)
	}

	// With one more there is nothing before the first byte of payload, then each byte as it
	// arrives.
	frame = AppendFrame(nil, TypeExec, 2, payloadOf(window-HeaderSize+1))
	for n := range HeaderSize + 1 {
		if taken, err := d.Next(frame[:n], &p); taken != 0 || err != nil || d.Mid() {
			t.Fatalf("%d of %d bytes: took %d, %v", n, len(frame), taken, err)
		}
	}
	if n, err := d.Next(frame[:HeaderSize+1], &p); n != HeaderSize+1 || err != nil || !p.First() || p.Last() || !d.Mid() {
		t.Fatalf("took %d, %v: %+v", n, err, p)
	}
	if n, err := d.Next(nil, &p); n != 0 || err != nil || !d.Mid() {
		t.Fatalf("took %d of nothing, %v", n, err)
	}
	for i := HeaderSize + 1; i < len(frame); i++ {
		n, err := d.Next(frame[i:i+1], &p)
		if n != 1 || err != nil || p.Offset != i-HeaderSize || p.First() || p.Last() != (i == len(frame)-1) {
			t.Fatalf("byte %d: took %d, %v: %+v", i, n, err, p)
		}
	}
	if d.Mid() {
		t.Fatal("mid frame after its end")
	}
}

// TestDecoderBeyondTheWindowAtOnce has a caller whose buffer holds more than the window.
func TestDecoderBeyondTheWindowAtOnce(t *testing.T) {
	t.Parallel()
	d := Decoder{Window: 16}
	b := AppendFrame(nil, TypeExec, 1, payloadOf(100))
	b = AppendFrame(b, TypePing, 2, nil)
	var p Part
	n, err := d.Next(b, &p)
	if n != HeaderSize+100 || err != nil || !p.First() || !p.Last() || d.Mid() || !bytes.Equal(p.Data, payloadOf(100)) {
		t.Fatalf("took %d, %v: %+v", n, err, p)
	}
	if n, err := d.Next(b[n:], &p); n != HeaderSize || err != nil || p.Type != TypePing {
		t.Fatalf("took %d, %v: %+v", n, err, p)
	}
}

func TestDecoderHeaderSplitAnywhere(t *testing.T) {
	t.Parallel()
	first := AppendFrame(nil, TypeExec, 0x01020304, payloadOf(5))
	stream := AppendFrame(first, TypeWriteFile, 0xfffefdfc, payloadOf(300))
	for _, window := range []int{HeaderSize + 1, HeaderSize + 5, 32, HeaderSize + 300, 4096} {
		// There are both headers, and a little more.
		for at := 1; at < len(first)+2*HeaderSize; at++ {
			cuts := []int{at, len(stream)}
			checkStream(t, stream, window, func() int {
				n := cuts[0]
				cuts = append(cuts[1:], len(stream))
				return n
			})
		}
	}
}

func TestDecoderThousandFramesInOneRead(t *testing.T) {
	t.Parallel()
	var stream []byte
	for i := range 1000 {
		stream = AppendFrame(stream, TypePing, uint32(i), payloadOf(i%3))
	}
	checkStream(t, stream, len(stream), every(len(stream)))
	checkStream(t, stream, 512, every(512))
	checkStream(t, stream, 512, every(1))
}

func TestDecoderLongestFrame(t *testing.T) {
	t.Parallel()
	head := AppendHeader(nil, TypeWriteFile, 9, MaxPayload)
	if u32(head) != MaxLength {
		t.Fatalf("length %d", u32(head))
	}
	d := Decoder{Window: 64 << 10}
	chunk := append(head, payloadOf(64<<10-HeaderSize)...)
	var p Part
	for sum := 0; sum < MaxPayload; {
		if sum > 0 {
			chunk = chunk[:min(len(chunk), MaxPayload-sum)]
		}
		n, err := d.Next(chunk, &p)
		if n != len(chunk) || err != nil || p.Offset != sum || p.Size != MaxPayload {
			t.Fatalf("at %d: took %d, %v: %+v", sum, n, err, p.Header)
		}
		sum += len(p.Data)
		if p.Last() != (sum == MaxPayload) {
			t.Fatalf("at %d: last is %v", sum, p.Last())
		}
	}
	if d.Mid() {
		t.Fatal("mid frame after its end")
	}

	// It is returned whole to a host that has the room.
	frame := append(head, make([]byte, MaxPayload)...)
	d = Decoder{Window: len(frame)}
	if n, err := d.Next(frame, &p); n != len(frame) || err != nil || !p.First() || !p.Last() {
		t.Fatalf("took %d, %v: %+v", n, err, p.Header)
	}
}

func TestDecoderBadLength(t *testing.T) {
	t.Parallel()
	for _, length := range []uint32{0, 1, 4, MaxLength + 1, 1 << 31, 1<<32 - 1} {
		t.Run(fmt.Sprint(length), func(t *testing.T) {
			t.Parallel()
			want := fmt.Sprintf("frame length %d is outside 5..16777216", length)
			good := AppendFrame(nil, TypePing, 1, nil)
			// The error comes with the last byte of the length, after the parts before it, and
			// persists.
			for extra := range 20 {
				d := Decoder{Window: 64}
				b := append(appendU32(good[:len(good):len(good)], length), make([]byte, extra)...)
				var p Part
				if n, err := d.Next(b, &p); n != len(good) || err != nil {
					t.Fatalf("took %d, %v", n, err)
				}
				rest := b[len(good):]
				if n, err := d.Next(rest[:3], &p); n != 0 || err != nil {
					t.Fatalf("three bytes: took %d, %v", n, err)
				}
				for _, again := range [][]byte{rest, good, nil} {
					n, err := d.Next(again, &p)
					if n != 0 || err == nil || err.Error() != want || d.Mid() {
						t.Fatalf("took %d, %v", n, err)
					}
				}
			}
		})
	}
}

// TestDecoderWithoutWindow checks that a forgotten Window does not hang a connection.
func TestDecoderWithoutWindow(t *testing.T) {
	t.Parallel()
	b := AppendFrame(nil, TypePing, 1, nil)
	b = AppendFrame(b, TypeExec, 2, payloadOf(3))
	var d Decoder
	var p Part
	if n, err := d.Next(b, &p); n != HeaderSize || err != nil || p.Type != TypePing || p.Seq != 1 || !p.Last() {
		t.Fatalf("took %d, %v: %+v", n, err, p)
	}
	if n, err := d.Next(b[HeaderSize:], &p); n != HeaderSize+3 || err != nil || p.Seq != 2 || !p.Last() {
		t.Fatalf("took %d, %v: %+v", n, err, p)
	}
}

// TestDecoderSkip has the payload of a frame go elsewhere, but for a part in its middle.
func TestDecoderSkip(t *testing.T) {
	t.Parallel()
	d := Decoder{Window: 1 << 16}
	frame := AppendFrame(nil, TypeInput, 7, []byte("0123456789"))
	if h, ok := d.Head(frame[:HeaderSize-1]); ok {
		t.Errorf("Head(a part of it) = %+v", h)
	}
	h, ok := d.Head(frame)
	if want := (Header{TypeInput, 7, 10}); !ok || h != want {
		t.Fatalf("Head = %+v, %v, want %+v", h, ok, want)
	}
	d.Begin(h)
	if h, ok := d.Head(frame); ok {
		t.Errorf("Head within a frame = %+v", h)
	}
	d.Skip(3)
	var p Part
	n, err := d.Next(frame[HeaderSize+3:HeaderSize+5], &p)
	if n != 2 || err != nil || p.Header != h || p.Offset != 3 || string(p.Data) != "34" || d.Left() != 5 {
		t.Errorf("Next = %d, %v, and the part is %+v, %d left", n, err, p, d.Left())
	}
	d.Skip(5)
	next := AppendFrame(nil, TypePing, 8, nil)
	if n, err := d.Next(next, &p); n != len(next) || err != nil || p.Type != TypePing || d.Left() != 0 {
		t.Errorf("the next frame: %d, %v, %+v", n, err, p)
	}
}
