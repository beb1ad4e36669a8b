package sys

import (
	"strconv"
)

// tempPrefix begins the names of temporary files.
const tempPrefix = ".wick-"

// TempName returns a name for a temporary file: ".wick-" and 64 random bits.
func TempName() string { return tempPrefix + strconv.FormatUint(random(), 16) }

// IsTempName reports whether a name may be one of TempName's.
func IsTempName(name []byte) bool {
	return len(name) > len(tempPrefix) && string(name[:len(tempPrefix)]) == tempPrefix
}
