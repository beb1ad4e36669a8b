package reactor

import (
	"errors"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// diverter is a hand that takes the next left bytes to a pipe.
type diverter struct {
	hand
	fd, left int
}

func (d *diverter) Divert() (fd, n int) {
	if d.left == 0 {
		return -1, 0
	}
	return d.fd, d.left
}

func (d *diverter) Diverted(n int) { d.left -= n }

// divertTo has the first n bytes of a new stream go to a pipe.
func divertTo(t *testing.T, n int) (l *Loop, d *diverter, far, r int) {
	l = newLoop(t, 2)
	ours, far := pair(t)
	r, w := pipe(t)
	t.Cleanup(func() { unix.Close(far); unix.Close(r); unix.Close(w) })
	d = &diverter{fd: w, left: n}
	d.s.Open(l, ours, "far end", d)
	d.s.DivertTo(d)
	return l, d, far, r
}

// TestDivert sends content in pieces, with a text behind it. The pipe gets the content, though the
// socket was empty between the pieces, and Input gets the text.
func TestDivert(t *testing.T) {
	t.Parallel()
	const size = 300_000
	l, d, far, r := divertTo(t, size)
	content := strings.Repeat("0123456789", size/10)
	var got []byte
	for sent := 0; sent < size; {
		n := min(size-sent, 1+sent/2)
		write(t, far, content[sent:sent+n])
		sent += n
		until(t, l, "the piece", func() bool { got = append(got, drain(t, r)...); return len(got) == sent })
		d.s.read() // of an empty socket
	}
	write(t, far, "behind")
	until(t, l, "the text", func() bool { return len(d.got) > 0 })
	if string(got) != content || string(d.got) != "behind" || d.left != 0 {
		t.Errorf("%d bytes in the pipe, %d left, and %q to Input", len(got), d.left, d.got)
	}
}

// TestDivertEnds has a pipe take only the beginning, or nothing. Input gets the rest, and nothing
// is lost or asked for again and again.
func TestDivertEnds(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name string
		stop func(t *testing.T, d *diverter, far, r int)
	}{
		{"the pipe is full", func(t *testing.T, d *diverter, _, _ int) { fill(t, d.fd) }},
		{"the pipe has no reader", func(t *testing.T, _ *diverter, _, r int) { unix.Dup3(0, r, unix.O_CLOEXEC) }},
		{"there is no pipe", func(_ *testing.T, d *diverter, _, _ int) { d.fd = -1 }},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			l, d, far, r := divertTo(t, 100_000)
			x.stop(t, d, far, r)
			want := strings.Repeat("x", 50_000)
			write(t, far, want)
			until(t, l, "the bytes", func() bool { return len(d.got) >= len(want) })
			if string(d.got) != want || d.left != 100_000 {
				t.Errorf("%d bytes to Input, %d of the pipe's 100000 left", len(d.got), d.left)
			}
			unix.Shutdown(far, unix.SHUT_WR)
			until(t, l, "the end", func() bool { return len(d.ends) > 0 })
		})
	}
}

// TestDivertEnd ends a stream in the middle of content.
func TestDivertEnd(t *testing.T) {
	t.Parallel()
	l, d, far, r := divertTo(t, 100_000)
	write(t, far, "the beginning")
	unix.Shutdown(far, unix.SHUT_WR)
	until(t, l, "the end", func() bool { return len(d.ends) > 0 })
	if got := string(drain(t, r)); got != "the beginning" || d.ends[0] != nil || len(d.got) > 0 {
		t.Errorf("%q in the pipe, end %v, %q to Input", got, d.ends[0], d.got)
	}
}

// TestDivertReset closes the far end in the middle of content, with bytes that it has not read.
func TestDivertReset(t *testing.T) {
	t.Parallel()
	l, d, far, _ := divertTo(t, 100_000)
	d.say("unread")
	unix.Dup3(0, far, unix.O_CLOEXEC) // which closes it
	until(t, l, "the end", func() bool { return len(d.ends) > 0 })
	if !errors.Is(d.ends[0], unix.ECONNRESET) {
		t.Errorf("the end is %v, want ECONNRESET", d.ends[0])
	}
}

// TestDivertKept has input that was not taken come before what is diverted. Under a limit, a whole
// head comes in one turn, and the content behind it too.
func TestDivertKept(t *testing.T) {
	t.Parallel()
	const head, content = "half head", "stdin!"
	l, d, far, r := divertTo(t, 0)
	d.s.ReadAtMost(4)
	d.input = func(b []byte) int {
		if len(b) < len(head) {
			d.s.ReadAtMost(min(4, len(head)-len(b)))
			return 0
		}
		d.got = append(d.got, b...)
		d.left = len(content)
		return len(b)
	}
	write(t, far, head+content)
	if err := l.turn(); err != nil {
		t.Fatal(err)
	}
	if got := string(drain(t, r)); string(d.got) != head || got != content || d.s.kept > 0 {
		t.Errorf("%q to Input, want %q; %q in the pipe, want %q", d.got, head, got, content)
	}
}

// TestDivertOther leaves a socket alone whose pages go to a pipe one by one.
func TestDivertOther(t *testing.T) {
	t.Parallel()
	l, d, _, r := divertTo(t, 100)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}); err != nil {
		t.Fatal(err)
	}
	unix.SetNonblock(fd, true)
	far, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	d.s.Close()
	d.s.Open(l, fd, "far end", d)
	d.s.DivertTo(d)
	if _, err := far.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	until(t, l, "the text", func() bool { return len(d.got) == 4 })
	if got := drain(t, r); len(got) > 0 || d.left != 100 {
		t.Errorf("the pipe has %q", got)
	}
}
