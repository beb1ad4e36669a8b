package vhostvsock

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Config says where a device listens.
type Config struct {
	// VhostSocket is the path of the Unix socket that the device listens on and QEMU connects to:
	//
	//	-chardev socket,id=vsock0,path=<VhostSocket> -device vhost-user-vsock-device,chardev=vsock0
	//
	// (server=off, the default), with the guest's memory shared (a memory-backend-memfd with
	// share=on).
	VhostSocket string
	// UDS is the path of the Unix socket for host programs. A guest's connect to a port reaches the
	// host program that listens on UDS_<port>. At most 96 bytes.
	UDS string
	// GuestCID is the guest's address, from 3 to 2^32-2.
	GuestCID uint64
	// Logger, if not nil, gets the errors between host and guest. The caller need not act on any.
	Logger *slog.Logger
}

// ErrClosed is returned by Serve when the device has been closed.
var ErrClosed = errors.New("device is closed")

// Device is a virtio-vsock device. Its methods can be called from any goroutine.
type Device struct {
	cfg   Config
	vhost *unixSocket
	uds   *unixSocket
	wake  int // eventfd: tells Serve to look at the fields that mu guards

	mu      sync.Mutex
	closed  bool
	serving chan struct{} // closed when Serve returns; nil while it does not run
	resets  []chan struct{}
	free    sync.Once
}

// New makes a device and its two sockets, so that QEMU can start as soon as New has returned.
// Neither path may exist. The caller must call Close.
func New(cfg Config) (*Device, error) {
	switch {
	case binary.NativeEndian.Uint16([]byte{1, 0}) != 1:
		return nil, errors.New("big-endian hosts are not supported")
	case cfg.GuestCID <= hostCID || cfg.GuestCID >= 1<<32-1:
		return nil, fmt.Errorf("guest CID %d is out of range", cfg.GuestCID)
	case cfg.VhostSocket == "" || len(cfg.VhostSocket) > maxUnixPath:
		return nil, fmt.Errorf("vhost-user socket %q: path must have 1 to %d bytes",
			cfg.VhostSocket, maxUnixPath)
	case cfg.UDS == "" || len(hostPath(cfg.UDS, 1<<32-1)) > maxUnixPath:
		return nil, fmt.Errorf("vsock socket %q: path must have 1 to %d bytes", cfg.UDS,
			maxUnixPath-len(hostPath("", 1<<32-1)))
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	d := &Device{cfg: cfg, wake: -1}
	var err error
	if d.vhost, err = bindUnix(cfg.VhostSocket); err == nil {
		if d.uds, err = bindUnix(cfg.UDS); err == nil {
			if d.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
				return d, nil
			}
			err = fmt.Errorf("create eventfd: %w", err)
		}
	}
	d.release()
	return nil, err
}

// Serve waits for a front-end and serves it until it leaves, and then returns nil. It returns ctx's
// error when ctx is done, and nil after Close. Connections end with it. It may be called again for
// another front-end, but not concurrently.
func (d *Device) Serve(ctx context.Context) error {
	done, err := d.begin()
	if err != nil {
		return err
	}
	defer d.end(done)
	defer context.AfterFunc(ctx, d.poke)()

	p, err := newPoller()
	if err != nil {
		return err
	}
	l := &loop{d: d, poll: p}
	l.vhost = p.add(d.vhost.fd, func(uint32) { l.accept() })
	l.wake = p.add(d.wake, func(uint32) { drain(d.wake) })
	defer l.close()
	return l.run(ctx)
}

func (d *Device) begin() (chan struct{}, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, ErrClosed
	}
	if d.serving != nil {
		return nil, errors.New("device is served already")
	}
	d.serving = make(chan struct{})
	return d.serving, nil
}

func (d *Device) end(done chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.serving = nil
	for _, r := range d.resets {
		close(r)
	}
	d.resets = nil
	close(done)
}

// poke makes Serve look at the fields that mu guards. It may be called while Serve does not run.
func (d *Device) poke() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pokeLocked()
}

func (d *Device) pokeLocked() {
	if d.serving != nil {
		signal(d.wake)
	}
}

// ResetConnections ends every connection at once, like the restore of a snapshot. It returns when
// the host programs' streams are closed. If the front-end passes on the event queue, the guest gets
// VIRTIO_VSOCK_EVENT_TRANSPORT_RESET and its connections fail with ECONNRESET. QEMU does not pass
// it on. There the guest gets an RST for each connection, which it sees as an end of file and as a
// failed write. Listeners remain, as after a restore.
func (d *Device) ResetConnections() {
	d.mu.Lock()
	if d.serving == nil {
		d.mu.Unlock()
		return
	}
	done := make(chan struct{})
	d.resets = append(d.resets, done)
	d.pokeLocked()
	d.mu.Unlock()
	<-done
}

// Close ends Serve, waits for it, and removes both sockets. It is idempotent.
func (d *Device) Close() error {
	d.mu.Lock()
	d.closed = true
	serving := d.serving
	d.pokeLocked()
	d.mu.Unlock()
	if serving != nil {
		<-serving
	}
	d.free.Do(d.release)
	return nil
}

func (d *Device) release() {
	for _, s := range []*unixSocket{d.vhost, d.uds} {
		if s != nil {
			s.close()
		}
	}
	if d.wake >= 0 {
		unix.Close(d.wake)
	}
}

// loop is the state of one Serve. It belongs to the goroutine that called Serve.
type loop struct {
	d       *Device
	poll    *poller
	vhost   *source // of the device's vhost-user socket, borrowed
	wake    *source // of the device's eventfd, borrowed
	session *session
	err     error
}

func (l *loop) run(ctx context.Context) (err error) {
	// A front-end may take memory away by shrinking the file. The process must survive it.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			fault, ok := r.(interface {
				error
				Addr() uintptr
			})
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("access guest memory: %w", fault)
		}
	}()

	if err := errors.Join(l.vhost.want(unix.EPOLLIN), l.wake.want(unix.EPOLLIN)); err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if l.errands() || l.err != nil {
			return l.err
		}
		wait := time.Duration(-1)
		if s := l.session; s != nil {
			if s.over {
				return s.err
			}
			wait = s.turn()
		}
		if err := l.poll.wait(wait); err != nil {
			return err
		}
	}
}

// accept accepts the one front-end. Others wait until Serve is called again.
func (l *loop) accept() {
	fd, err := l.d.vhost.accept()
	if err == unix.EAGAIN {
		return
	}
	if err != nil {
		l.err = fmt.Errorf("accept vhost-user front-end: %w", err)
		return
	}
	l.vhost.want(0)
	l.session, l.err = newSession(fd, l.d.cfg.GuestCID, l.d.uds, l.poll, l.d.cfg.Logger)
}

// errands does the work that other goroutines have requested. It reports true if the loop must
// stop.
func (l *loop) errands() (stop bool) {
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	if len(l.d.resets) > 0 && l.session != nil {
		l.session.resetConnections()
	}
	for _, r := range l.d.resets {
		close(r)
	}
	l.d.resets = nil
	return l.d.closed
}

func (l *loop) close() {
	l.vhost.release()
	l.wake.release()
	if l.session != nil {
		l.session.close()
	}
	l.poll.close()
}
