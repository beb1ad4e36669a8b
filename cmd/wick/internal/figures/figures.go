package figures

import (
	"fmt"
	"io"
	"iter"
	"strings"
	"text/tabwriter"

	"wick/cmd/wick/internal/output"
)

// Table prints a line for each figure that names has. It returns how many there are.
func Table(to io.Writer, figures iter.Seq2[string, uint64], names []string) (shown int, err error) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for name, value := range figures {
		if Named(name, names) {
			fmt.Fprintf(w, "%s\t%d\n", output.Printable(name), value)
			shown++
		}
	}
	return shown, w.Flush()
}

// JSON prints the figures that names has as an object on a line. It returns how many there are.
func JSON(to io.Writer, figures iter.Seq2[string, uint64], names []string) (shown int, err error) {
	object := map[string]uint64{}
	for name, value := range figures {
		if Named(name, names) {
			object[name] = value
		}
	}
	return len(object), output.JSON(to, object)
}

// Named reports whether name is among names, or begins with one of them that ends in a dot. With
// no names every name is.
func Named(name string, names []string) bool {
	for _, n := range names {
		if name == n || strings.HasSuffix(n, ".") && strings.HasPrefix(name, n) {
			return true
		}
	}
	return len(names) == 0
}
