package main

import (
	"fmt"
	"strings"
	"time"

	"wick/cmd/wick/internal/units"
	"wick/framing/client"
)

// usageText says what a command used.
func usageText(r *client.Receipt) string {
	short := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	var b strings.Builder
	fmt.Fprintf(&b, "elapsed %v, user %v, system %v, memory %s", short(r.Elapsed), short(r.User), short(r.System), units.ShortBytes(r.Peak))
	if r.IO != nil {
		fmt.Fprintf(&b, ", read %s in %d, written %s in %d", units.ShortBytes(r.IO.Read), r.IO.Reads, units.ShortBytes(r.IO.Written), r.IO.Writes)
	}
	return b.String()
}
