// Command table makes one table of ratios of what the benchmarks printed, round after round: wick's figure over the floor's and over the
// naive agent's, each within one round, and of these ratios the median with the middle half of them.
//
//	go run ./bench/table [-readme README.md] RESULTS…
//
// With -readme the table is put between the markers in that file too.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
)

func main() {
	readme := flag.String("readme", "", "file with the markers between which the table goes")
	flag.Parse()
	if err := run(*readme, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

func run(readme string, files []string) error {
	var all results
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := all.parse(text); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	table := all.table()
	if len(table) == 0 {
		return fmt.Errorf("no figure of the table in %q", files)
	}
	os.Stdout.Write(table)
	if readme == "" {
		return nil
	}
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	if text, err = replace(text, table); err != nil {
		return fmt.Errorf("%s: %w", readme, err)
	}
	return os.WriteFile(readme, text, 0o644)
}

// The markers in the README.
const (
	begin = "<!-- bench: scripts/bench -->\n"
	end   = "<!-- /bench -->\n"
)

// replace puts the table between the markers.
func replace(text, table []byte) ([]byte, error) {
	before, rest, ok := bytes.Cut(text, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return nil, fmt.Errorf("no lines %q and %q", begin, end)
	}
	return bytes.Join([][]byte{before, []byte(begin), []byte("\n"), table, []byte("\n"), []byte(end), after}, nil), nil
}
