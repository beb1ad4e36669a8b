package main

import (
	"os"

	"golang.org/x/sys/unix"

	"wick/framing/client"
)

const (
	getTermios = unix.TCGETS
	setTermios = unix.TCSETS
)

// flushInput discards what was typed and not read.
func flushInput(f *os.File) { unix.IoctlSetInt(int(f.Fd()), unix.TCFLSH, unix.TCIFLUSH) }

// terminalModes returns the modes of the tool's terminal, or nil if it has none.
func (t *tool) terminalModes() *client.Modes {
	for _, stream := range []any{t.stdin, t.stdout} {
		if f, ok := stream.(*os.File); ok {
			if m, err := unix.IoctlGetTermios(int(f.Fd()), getTermios); err == nil {
				return &client.Modes{Input: m.Iflag, Output: m.Oflag, Local: m.Lflag, Chars: m.Cc[:]}
			}
		}
	}
	return nil
}
