package terminal

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

// Modes returns the modes of the first stream that is a terminal, or nil without one.
func Modes(streams ...any) *client.Modes {
	for _, stream := range streams {
		if f, ok := stream.(*os.File); ok {
			if m, err := unix.IoctlGetTermios(int(f.Fd()), getTermios); err == nil {
				return &client.Modes{Input: m.Iflag, Output: m.Oflag, Local: m.Lflag, Chars: m.Cc[:]}
			}
		}
	}
	return nil
}
