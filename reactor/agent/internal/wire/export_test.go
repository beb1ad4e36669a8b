package wire

import "time"

const (
	SilentGrace = silentGrace
)

// Age makes a connection older.
func (c *Conn) Age(d time.Duration) { c.born -= d }
