//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"wick/cmd/wick/internal/cache"
	"wick/cmd/wick/internal/machine"
	"wick/cmd/wick/internal/oci"
	"wick/cmd/wick/internal/output"
	"wick/cmd/wick/internal/terminal"
	"wick/cmd/wick/internal/units"
)

// runUI shows the progress of a run on a terminal, in one line that is erased before the command's
// output.
type runUI struct {
	w io.Writer

	mu   sync.Mutex
	live bool
}

// say prints a line that stays. u.mu is held.
func (u *runUI) say(text string) {
	u.erase()
	end := "\n"
	if terminal.Is(u.w) {
		end = "\r\n" // it may be in raw mode, with a command on it
	}
	fmt.Fprintf(u.w, "wick: %s%s", output.PrintableLines(text), end)
}

// Event implements [machine.UI].
func (u *runUI) Event(e machine.Event) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch e.Stage {
	case machine.Kept:
		u.say("kept in " + e.Detail)
		return
	case machine.Noted:
		u.say("--rootfs: " + e.Detail)
		return
	case machine.Killed:
		u.say("the machine did not shut down cleanly: " + e.Detail)
		return
	case machine.Notice:
		u.say(e.Detail)
		return
	}
	text := ""
	switch e.Stage {
	case machine.Building:
		text = "building the " + e.Detail
	case machine.Booting:
		text = "booting (" + e.Detail + ")"
	case machine.Ready:
		text = fmt.Sprintf("ready in %d ms", e.Took.Milliseconds())
	case machine.PoweringOff:
		text = "powering off"
	}
	u.show(text)
}

// show replaces the line. u.mu is held.
func (u *runUI) show(text string) {
	if !u.live {
		return
	}
	text = output.PrintableLines(text) + " ..."
	if f, ok := u.w.(*os.File); ok {
		// A line that wraps could not be erased.
		if size := terminal.Size(f); size != nil && len(text) >= int(size.Cols) {
			text = text[:max(int(size.Cols)-1, 0)]
		}
	}
	io.WriteString(u.w, "\r\x1b[K"+text)
}

// pause erases the line, which the next event shows again.
func (u *runUI) pause() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.erase()
}

// end erases the line for good, because the command uses the terminal from now on.
func (u *runUI) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.erase()
	u.live = false
}

// erase erases the line. u.mu is held.
func (u *runUI) erase() {
	if u.live {
		io.WriteString(u.w, "\r\x1b[K")
	}
}

// store returns the images in a cache. It shows the progress of a pull, and what was pulled.
func (u *runUI) store(dir cache.Dir) *oci.Store {
	return &oci.Store{Dir: dir,
		Progress: func(p oci.Progress) {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.show(fmt.Sprintf("pulling %s: %d of %d layers, %s of %s", p.Name, p.Layers, p.Of,
				units.ShortBytes(uint64(p.Bytes)), units.ShortBytes(uint64(p.Size))))
		},
		Pulled: func(p oci.Pulled) {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.say(fmt.Sprintf("pulled %s: %d layers, %s, %s", p.Name, p.Layers, units.ShortBytes(uint64(p.Bytes)), p.Digest))
		},
	}
}
