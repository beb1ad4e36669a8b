package watch

// An event of inotify(7), in a buffer that read(2) filled.
type event struct {
	wd           int32
	mask, cookie uint32
	name         []byte // without the NULs behind it
	size         int    // of the event in the buffer
}

// eventHead is the size of an event without its name, in bytes. eventMax is that of the longest.
const (
	eventHead = 16
	eventMax  = eventHead + 256
)

// parseEvent parses the event at the beginning of a buffer, and reports whether there is a whole
// one. The event aliases the buffer.
func parseEvent(b []byte) (e event, ok bool) {
	if len(b) < eventHead {
		return e, false
	}
	size := number(b[12:])
	if uint64(size) > uint64(len(b)-eventHead) {
		return e, false
	}
	e = event{wd: int32(number(b)), mask: number(b[4:]), cookie: number(b[8:])}
	e.size = eventHead + int(size)
	e.name = b[eventHead:e.size]
	for i, c := range e.name {
		if c == 0 {
			e.name = e.name[:i]
			break
		}
	}
	return e, true
}

// number returns the number of 32 bits at the beginning of b, as amd64 and arm64 have it.
func number(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}
