package sys

import (
	"strconv"
)

// TempName returns a name for a temporary file: ".wick-" and 64 random bits.
func TempName() string { return ".wick-" + strconv.FormatUint(random(), 16) }
