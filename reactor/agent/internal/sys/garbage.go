package sys

// garbageLimit is how much garbage requests may leave before it is collected, in bytes. A
// collection takes 0.3 ms and returns the memory to the system.
const garbageLimit = 96 << 10

// Garbage counts the bytes that requests leave on the heap, because Tune switches off the runtime's
// own count. The zero value is ready for use.
type Garbage struct {
	bytes int // since the last collection
}

// Add counts bytes that become garbage, but does not collect them.
func (g *Garbage) Add(bytes int) { g.bytes += bytes }

// Collect counts bytes that become garbage, and runs the collector if the count reaches the limit.
func (g *Garbage) Collect(bytes int) {
	if g.bytes += bytes; g.bytes >= garbageLimit {
		g.bytes = 0
		freeOSMemory()
	}
}
