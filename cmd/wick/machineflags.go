package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// machineFlags choose machines of a list.
type machineFlags struct {
	all     bool
	filters []string
}

// filterNames has the names of filters.
var filterNames = []string{"name", "id", "image", "status", "label"}

func (f *machineFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVarP(&f.all, "all", "a", false, "also machines that are stopped or lost")
	flags.StringArrayVarP(&f.filters, "filter", "f", nil, "only machines that match a `NAME=VALUE`, such as status=stopped; may be repeated")
	cmd.RegisterFlagCompletionFunc("filter", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		words := []string{"status=running", "status=stopped"}
		for _, name := range filterNames {
			words = append(words, name+"=")
		}
		return words, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	})
}

// given reports whether a flag is given.
func (f *machineFlags) given() bool { return f.all || len(f.filters) > 0 }

// parse returns the values of each filter. It takes docker's names of two of them, too.
func (f *machineFlags) parse() (map[string][]string, error) {
	filters := map[string][]string{}
	for _, text := range f.filters {
		name, value, ok := strings.Cut(text, "=")
		if name == "ancestor" {
			name = "image"
		}
		if name == "status" && value == "exited" {
			value = "stopped"
		}
		if !ok || !slices.Contains(filterNames, name) {
			return nil, fmt.Errorf("--filter %q: want %s=VALUE", text, strings.Join(filterNames, "=VALUE, "))
		}
		statuses := []string{"starting", "running", "paused", "stopping", "stopped", "lost"}
		if name == "status" && !slices.Contains(statuses, value) {
			return nil, fmt.Errorf("--filter %q: a status is %s", text, strings.Join(statuses, ", "))
		}
		filters[name] = append(filters[name], value)
	}
	return filters, nil
}
