// Command table makes a table of ratios from the output of the benchmarks. A ratio is wick's figure
// over the floor's or the naive agent's within one round. The table shows the median of the rounds'
// ratios with the middle half of them.
//
//	go run ./bench/table [-readme README.md] [-page bench/figures.md] RESULTS…
//
// With -page it also puts the table between the markers in that file, and with -readme the README's
// part of it. If RESULTS already has a table, as bench/results.txt has, it uses that one.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
)

func main() {
	readme := flag.String("readme", "",
		"file with the markers between which the table's front goes")
	page := flag.String("page", "", "file with the markers between which the table goes")
	flag.Parse()
	if err := run(*readme, *page, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(1)
	}
}

func run(readme, page string, files []string) error {
	var all results
	var table []byte
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := all.parse(text); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		table = append(table, tableIn(text)...)
	}
	if measured := all.table(); measured != nil {
		table = measured
	}
	if len(table) == 0 {
		return fmt.Errorf("no figure of the table in %q", files)
	}
	os.Stdout.Write(table)
	if err := put(page, table); err != nil {
		return err
	}
	return put(readme, frontOf(table))
}

// put puts a table between the markers of the named file. It does nothing if name is "".
func put(name string, table []byte) error {
	if name == "" {
		return nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if text, err = replace(text, table); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.WriteFile(name, text, 0o644)
}

// The markers.
const (
	begin = "<!-- bench: scripts/bench -->\n"
	end   = "<!-- /bench -->\n"
)

// replace returns text with the table between the markers.
func replace(text, table []byte) ([]byte, error) {
	before, rest, ok := bytes.Cut(text, []byte(begin))
	_, after, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		return nil, fmt.Errorf("no lines %q and %q", begin, end)
	}
	return bytes.Join([][]byte{
		before, []byte(begin), []byte("\n"), table, []byte("\n"), []byte(end), after,
	}, nil), nil
}
