package output

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

// Flags has the flags of a command that lists something, for scripts.
type Flags struct {
	JSON   bool
	Format string // a template, or ""
	quiet  bool
}

// Add adds the flags. what is what -q prints, such as ids; without it there is no -q.
func (f *Flags) Add(cmd *cobra.Command, what string) {
	flags := cmd.Flags()
	flags.BoolVar(&f.JSON, "json", false, "print an object of JSON on a line for each")
	flags.StringVar(&f.Format, "format", "", "print each by a Go `TEMPLATE` of the fields of --json, or json for that")
	if what != "" {
		flags.BoolVarP(&f.quiet, "quiet", "q", false, "print only "+what)
	}
	cmd.RegisterFlagCompletionFunc("format", cobra.NoFileCompletions)
}

// Check refuses flags that contradict each other, and a template that cannot be parsed. A command
// calls it before it connects.
func (f *Flags) Check() error {
	if f.Format == "json" { // docker's form
		f.JSON, f.Format = true, ""
	}
	given := 0
	for _, is := range []bool{f.JSON, f.quiet, f.Format != ""} {
		if is {
			given++
		}
	}
	if given > 1 {
		return exit.Usage(errors.New("give one of --json, --format and -q"))
	}
	if f.Format != "" {
		_, err := parseFormat(f.Format)
		return err
	}
	return nil
}

// List prints a list to a stream as the flags say: as a table by default. word is what -q prints.
func List[T any](to io.Writer, f *Flags, list []T, word func(T) string, table func(io.Writer)) error {
	if err := f.Check(); err != nil {
		return err
	}
	switch {
	case f.JSON:
		for _, v := range list {
			if err := JSON(to, v); err != nil {
				return err
			}
		}
		return nil
	case f.Format != "":
		return printFormat(to, f.Format, list)
	case f.quiet:
		for _, v := range list {
			if _, err := fmt.Fprintln(to, word(v)); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// JSON writes a value as a line of JSON.
func JSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// NonNil makes the JSON of an empty list [].
func NonNil[T any](list []T) []T {
	if list == nil {
		list = []T{}
	}
	return list
}

// printFormat prints each of a list by a Go template. Its fields are those of Go, and those of the
// JSON in lower case.
func printFormat[T any](to io.Writer, format string, list []T) error {
	tmpl, err := parseFormat(format)
	if err != nil {
		return err
	}
	for _, v := range list {
		if err = tmpl.Execute(to, v); err == nil {
			_, err = fmt.Fprintln(to)
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

// Known returns text, or a dash if value is 0, which stands for unknown.
func Known(value uint64, text string) string {
	if value == 0 {
		return "-"
	}
	return text
}
