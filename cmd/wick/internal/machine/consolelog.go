package machine

import (
	"fmt"
	"os"

	"wick/cmd/wick/internal/vmm"
)

// A kept console log has the first and the last bytes, so that no guest fills the host's disk.
const (
	consoleLogHead = 4 << 20
	consoleLogTail = 1 << 20
)

// consoleLog is the file of a kept console.
type consoleLog struct {
	file    *os.File
	written int64 // bytes written to the console in all
	tail    *vmm.Tail
	err     error // the first write error
}

// newConsoleLog makes the file, which must not exist.
func newConsoleLog(path string) (*consoleLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &consoleLog{file: f, tail: vmm.NewTail(consoleLogTail, nil)}, nil
}

// Write implements io.Writer. It never fails, because a full disk must not stop the console's other
// readers.
func (l *consoleLog) Write(p []byte) (int, error) {
	n := int(min(int64(len(p)), max(0, consoleLogHead-l.written)))
	l.write(p[:n])
	if n < len(p) {
		l.tail.Write(p[n:])
	}
	l.written += int64(len(p))
	return len(p), nil
}

func (l *consoleLog) write(p []byte) {
	if l.err == nil && len(p) > 0 {
		_, l.err = l.file.Write(p)
	}
}

// Close adds the last bytes, after a line that says how many were left out.
func (l *consoleLog) Close() {
	last := l.tail.Bytes()
	if out := l.written - consoleLogHead - int64(len(last)); out > 0 {
		l.write(fmt.Appendf(nil, "\n--- wick left out %d bytes here\n", out))
	}
	l.write(last)
	l.file.Close()
}
