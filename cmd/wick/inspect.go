//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/keeper"
	"wick/cmd/wick/internal/oci"
	"wick/cmd/wick/internal/output"
)

// imageFacts are what wick inspect prints of an image.
type imageFacts struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Digest   string    `json:"digest"`
	Platform string    `json:"platform"`
	Created  time.Time `json:"created,omitzero"`
	Pulled   time.Time `json:"pulled"`
	Size     int64     `json:"size"`
	// Layers are the digests of the packed layers.
	Layers  []string     `json:"layers"`
	Config  v1.Config    `json:"config"`
	History []v1.History `json:"history"`
}

// inspectCommand returns wick inspect.
func (t *tool) inspectCommand() *cobra.Command {
	var f output.Flags
	cmd := &cobra.Command{
		Use:   "inspect [-f TEMPLATE | --json] MACHINE | IMAGE...",
		Short: "Print what is known of machines and images, as JSON",
		Long: `Print what is known of machines, and of images in the cache, as one JSON array, or with
--json as an object on a line for each. A word is a machine if there is one of that name.
Names of fields are never changed or removed; new ones may come. Times are as in RFC 3339,
and sizes in bytes.`,
		Example: `  wick inspect -f '{{.Status}} {{.ExitCode}}' web
  wick inspect -f '{{json .Config.Env}}' alpine`,
		Args:              needs("MACHINE..."),
		ValidArgsFunction: completeMachinesAndImages,
		RunE: func(_ *cobra.Command, names []string) error {
			var list []any
			var failed error
			for _, name := range names {
				facts, err := t.inspect(name)
				list = append(list, facts...)
				failed = errors.Join(failed, err)
			}
			if f.JSON || f.Format != "" {
				return errors.Join(output.List(t.stdout, &f, list, nil, nil), failed)
			}
			b, err := json.MarshalIndent(output.NonNil(list), "", "  ")
			if err == nil {
				_, err = t.stdout.Write(append(b, '\n'))
			}
			return errors.Join(err, failed)
		},
	}
	cmd.PreRunE = func(*cobra.Command, []string) error { return f.Check() }
	cmd.Flags().BoolVar(&f.JSON, "json", false, "print an object of JSON on a line for each")
	cmd.Flags().StringVarP(&f.Format, "format", "f", "", "print each by a Go `TEMPLATE`, such as '{{.Address}}', or json for --json")
	cmd.RegisterFlagCompletionFunc("format", cobra.NoFileCompletions)
	return cmd
}

// inspect returns what is known of a machine, or of an image for each of its platforms.
func (t *tool) inspect(name string) ([]any, error) {
	state, err := machineState(name)
	if err == nil {
		return []any{state}, nil
	}
	if !errors.Is(err, keeper.ErrUnknown) {
		return nil, err
	}
	dir, bad := cacheDir()
	if bad != nil {
		return nil, err
	}
	found, bad := (&oci.Store{Dir: dir}).Find(name)
	if bad != nil {
		return nil, fmt.Errorf("no such machine or image: %s; wick list -a and wick images show those that there are", name)
	}
	var list []any
	for _, r := range found {
		m, c := r.Parsed()
		facts := imageFacts{
			ID: r.ID().String(), Name: r.String(), Digest: r.Digest, Platform: r.Platform, Created: r.Created(), Pulled: r.Pulled,
			Size: r.Size(), Layers: []string{}, Config: c.Config, History: output.NonNil(c.History),
		}
		for _, l := range m.Layers {
			facts.Layers = append(facts.Layers, l.Digest.String())
		}
		list = append(list, facts)
	}
	return list, nil
}

// completeMachinesAndImages completes the names of machines and of pulled images.
func completeMachinesAndImages(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	machines, _ := completeMachines(cmd, args, word)
	images, how := completeImages(cmd, args, word)
	return append(machines, images...), how
}
