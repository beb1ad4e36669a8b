package terminal

import "io"

// The keys that leave a command running are those of docker.
const (
	detachFirst  = 'P' - '@'
	detachSecond = 'Q' - '@'
)

// detachReader passes keys on until it reads the detach keys.
type detachReader struct {
	r    io.Reader
	left chan struct{}
	held bool // detachFirst was read, and waits for the next key
	gone bool // both keys were read
}

// UntilDetach returns a reader of the keys of r up to the detach keys. When they are typed it
// closes left. Later reads block, because an end of file would close the command's stdin.
func UntilDetach(r io.Reader, left chan struct{}) io.Reader {
	return &detachReader{r: r, left: left}
}

// Read implements io.Reader.
func (d *detachReader) Read(p []byte) (int, error) {
	if d.gone {
		select {}
	}
	for {
		n, err := d.r.Read(p[1:])
		out := p[:0]
		for _, key := range p[1 : 1+n] {
			if d.held {
				d.held = false
				if key == detachSecond {
					d.gone = true
					close(d.left)
					return len(out), nil
				}
				out = append(out, detachFirst)
			}
			if key == detachFirst {
				d.held = true
				continue
			}
			out = append(out, key)
		}
		if len(out) > 0 || err != nil {
			return len(out), err
		}
	}
}
