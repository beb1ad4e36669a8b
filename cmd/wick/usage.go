package main

import (
	"fmt"
	"strings"
	"time"

	"wick/framing/client"
)

// usageText says what a command used.
func usageText(r *client.Receipt) string {
	short := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	var b strings.Builder
	fmt.Fprintf(&b, "elapsed %v, user %v, system %v, memory %s", short(r.Elapsed), short(r.User), short(r.System), shortBytes(r.Peak))
	if r.IO != nil {
		fmt.Fprintf(&b, ", read %s in %d, written %s in %d", shortBytes(r.IO.Read), r.IO.Reads, shortBytes(r.IO.Written), r.IO.Writes)
	}
	return b.String()
}
