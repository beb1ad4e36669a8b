package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"text/template"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
)

// listFlags has the flags of a command that lists something, for scripts.
type listFlags struct {
	json, quiet bool
	format      string
}

// add adds the flags. what is what -q prints, such as ids; without it there is no -q.
func (f *listFlags) add(cmd *cobra.Command, what string) {
	flags := cmd.Flags()
	flags.BoolVar(&f.json, "json", false, "print an object of JSON on a line for each")
	flags.StringVar(&f.format, "format", "", "print each by a Go `TEMPLATE` of the fields of --json, or json for that")
	if what != "" {
		flags.BoolVarP(&f.quiet, "quiet", "q", false, "print only "+what)
	}
	cmd.RegisterFlagCompletionFunc("format", cobra.NoFileCompletions)
}

// check refuses flags that contradict each other, and a template that cannot be parsed. A command
// calls it before it connects.
func (f *listFlags) check() error {
	if f.format == "json" { // docker's form
		f.json, f.format = true, ""
	}
	given := 0
	for _, is := range []bool{f.json, f.quiet, f.format != ""} {
		if is {
			given++
		}
	}
	if given > 1 {
		return exit.Usage(errors.New("give one of --json, --format and -q"))
	}
	if f.format != "" {
		_, err := parseFormat(f.format)
		return err
	}
	return nil
}

// printList prints a list as the flags say: as a table by default. word is what -q prints.
func printList[T any](t *tool, f *listFlags, list []T, word func(T) string, table func(io.Writer)) error {
	if err := f.check(); err != nil {
		return err
	}
	switch {
	case f.json:
		for _, v := range list {
			if err := t.printJSON(v); err != nil {
				return err
			}
		}
		return nil
	case f.format != "":
		return printFormat(t, f.format, list)
	case f.quiet:
		for _, v := range list {
			if _, err := fmt.Fprintln(t.stdout, word(v)); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// printJSON prints a value as a line of JSON.
func (t *tool) printJSON(v any) error { return writeJSON(t.stdout, v) }

// writeJSON writes a value as a line of JSON.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// nonNil makes the JSON of an empty list [].
func nonNil[T any](list []T) []T {
	if list == nil {
		list = []T{}
	}
	return list
}

// printFormat prints each of a list by a Go template. Its fields are those of Go, and those of the
// JSON in lower case.
func printFormat[T any](t *tool, format string, list []T) error {
	tmpl, err := parseFormat(format)
	if err != nil {
		return err
	}
	for _, v := range list {
		if err = tmpl.Execute(t.stdout, v); err == nil {
			_, err = fmt.Fprintln(t.stdout)
		}
		if err != nil {
			return fmt.Errorf("--format: %w", err)
		}
	}
	return nil
}

// parseFormat parses the template of --format.
func parseFormat(format string) (*template.Template, error) {
	tmpl, err := template.New("format").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		},
		"join": strings.Join, "lower": strings.ToLower, "upper": strings.ToUpper,
	}).Option("missingkey=error").Parse(format)
	if err != nil {
		return nil, exit.Usage(fmt.Errorf("--format: %w", err))
	}
	return tmpl, nil
}
