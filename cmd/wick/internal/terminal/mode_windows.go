package terminal

import (
	"os"
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/term"
)

// terminalSignals has no signal for the size or for job control, because a console sends none.
var terminalSignals = []os.Signal{os.Interrupt}

// sizePolls returns when to look at the console's size again.
func sizePolls() <-chan time.Time { return time.After(500 * time.Millisecond) }

// Raw sets a console's raw mode. The console then also obeys the guest's control sequences.
func Raw(fd int) (*term.State, error) {
	if out, err := windows.GetStdHandle(windows.STD_OUTPUT_HANDLE); err == nil {
		var mode uint32
		if windows.GetConsoleMode(out, &mode) == nil {
			windows.SetConsoleMode(out, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING)
		}
	}
	return term.MakeRaw(fd)
}

// Lines leaves the console as it is. The detach keys need Enter after them.
func Lines(fd int) (*term.State, error) { return term.GetState(fd) }

func (r *Terminal) handle(os.Signal) {}

// flushInput discards what was typed and not read.
func flushInput(f *os.File) { windows.FlushConsoleInputBuffer(windows.Handle(f.Fd())) }
