package terminal

import (
	"io"
	"sync"
)

// KeysKept limits the typed bytes that wait for the guest. At the limit no more are read. Without
// a connection more are read and dropped.
const KeysKept = 64 << 10

// interruptKey is Ctrl-C, which a terminal in raw mode delivers as a byte.
const interruptKey = 'C' - '@'

// A Keyboard reads keys as they are typed, also while a command has no connection. They wait for
// the guest, so that none is left for the shell that uses the terminal next.
type Keyboard struct {
	mu      sync.Mutex
	changed sync.Cond
	// mu guards these:
	keys       []byte
	err        error // of reading, after the keys
	away       bool  // there is no connection
	interrupts int   // presses of Ctrl-C since away

	// GivenUp is closed at the second Ctrl-C without a connection.
	GivenUp chan struct{}
}

// NewKeyboard returns a keyboard that reads r until its end.
func NewKeyboard(r io.Reader) *Keyboard {
	k := &Keyboard{GivenUp: make(chan struct{})}
	k.changed.L = &k.mu
	go k.pump(r)
	return k
}

func (k *Keyboard) pump(r io.Reader) {
	buf := make([]byte, 4<<10)
	for {
		n, err := r.Read(buf)
		k.mu.Lock()
		for len(k.keys) > 0 && len(k.keys)+n > KeysKept && !k.away {
			k.changed.Wait()
		}
		if k.away {
			k.count(buf[:n])
			k.keys = append(k.keys, buf[:min(n, KeysKept-len(k.keys))]...)
		} else {
			k.keys = append(k.keys, buf[:n]...)
		}
		k.err = err
		k.changed.Broadcast()
		k.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// count counts presses of Ctrl-C among keys typed without a connection. k.mu is held.
func (k *Keyboard) count(keys []byte) {
	for _, key := range keys {
		if key != interruptKey {
			continue
		}
		if k.interrupts++; k.interrupts == 2 {
			close(k.GivenUp)
		}
	}
}

// SetAway sets whether there is no connection. It may be called on nil.
func (k *Keyboard) SetAway(away bool) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.away = away
	if !away && k.interrupts < 2 {
		k.interrupts = 0
	}
	k.changed.Broadcast()
}

// Read implements io.Reader.
func (k *Keyboard) Read(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.keys) == 0 {
		if k.err != nil {
			return 0, k.err
		}
		k.changed.Wait()
	}
	n := copy(p, k.keys)
	k.keys = k.keys[:copy(k.keys, k.keys[n:])]
	k.changed.Broadcast()
	return n, nil
}
