// Command naive is the agent as one would write it in Go: net (and mdlayher/vsock in a machine), a
// goroutine per connection and per command, and os/exec. It speaks ping, the short exec and
// write_file. Wick's agent is compared with it. A start makes its connection the stream of one
// command, and a connect that of one forwarded connection.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/vsock"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: naive SOCKET | vsock:PORT")
	}
	l, err := listen(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(c)
	}
}

func listen(where string) (net.Listener, error) {
	if port, ok := strings.CutPrefix(where, "vsock:"); ok {
		n, err := strconv.ParseUint(port, 10, 32)
		if err != nil {
			return nil, err
		}
		return vsock.Listen(uint32(n), nil)
	}
	os.Remove(where)
	return net.Listen("unix", where)
}

// host is a connection. mu makes each frame one undivided write.
type host struct {
	mu sync.Mutex
	w  *bufio.Writer
}

func (h *host) send(typ byte, seq uint32, payload []byte, flush bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var head [9]byte
	binary.BigEndian.PutUint32(head[:], uint32(5+len(payload)))
	head[4] = typ
	binary.BigEndian.PutUint32(head[5:], seq)
	h.w.Write(head[:])
	h.w.Write(payload)
	if flush {
		h.w.Flush()
	}
}

func serve(c net.Conn) {
	defer c.Close()
	h := &host{w: bufio.NewWriterSize(c, 64<<10)}
	h.send(0, 0, nil, true)
	r := bufio.NewReaderSize(c, 64<<10)
	for {
		var head [9]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		payload := make([]byte, binary.BigEndian.Uint32(head[:])-5)
		if _, err := io.ReadFull(r, payload); err != nil {
			return
		}
		seq := binary.BigEndian.Uint32(head[5:])
		switch head[4] {
		case 1:
			// The pongs of frames that are buffered already go out with one write.
			h.send(2, seq, nil, r.Buffered() == 0)
		case 3:
			go func() { h.send(4, seq, run(payload), true) }()
		case 5:
			h.send(6, seq, save(payload), r.Buffered() == 0)
		case 0x22:
			h.send(0x23, seq, nil, true)
			stream(c, r, string(payload))
			return
		case 0x40:
			to, err := net.Dial("tcp", string(payload))
			if err != nil {
				log.Print(err)
				return
			}
			h.send(0x41, seq, nil, true)
			go func() {
				io.Copy(to, c)
				to.(*net.TCPConn).CloseWrite()
			}()
			io.Copy(c, to)
			return
		}
	}
}

func run(payload []byte) []byte {
	ctx := context.Background()
	if ms := binary.BigEndian.Uint32(payload); ms > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", string(payload[8:]))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	code := 0
	if err := cmd.Run(); err != nil {
		code = 126
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			code = exit.ExitCode()
		}
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 12+stdout.Len()+stderr.Len()), uint32(code))
	b = binary.BigEndian.AppendUint32(b, uint32(stdout.Len()))
	b = append(b, stdout.Bytes()...)
	b = binary.BigEndian.AppendUint32(b, uint32(stderr.Len()))
	return append(b, stderr.Bytes()...)
}

// stream gives the rest of a connection to a command, as its stdin and stdout.
func stream(c net.Conn, in io.Reader, command string) {
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdin, cmd.Stdout = in, c
	if err := cmd.Run(); err != nil {
		log.Print(err)
	}
}

func save(payload []byte) []byte {
	n := int(binary.BigEndian.Uint16(payload))
	path, content := string(payload[2:2+n]), payload[2+n+5:]
	err := func() error {
		f, err := os.CreateTemp(filepath.Dir(path), ".naive-")
		if err != nil {
			return err
		}
		defer os.Remove(f.Name())
		_, err = f.Write(content)
		return errors.Join(err, f.Chmod(0o644), f.Close(), os.Rename(f.Name(), path))
	}()
	if err == nil {
		return []byte{1, 0, 0}
	}
	reason := err.Error()
	b := binary.BigEndian.AppendUint16([]byte{0}, uint16(len(reason)))
	return append(b, reason...)
}
