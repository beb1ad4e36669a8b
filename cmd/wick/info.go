package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/figures"
	"wick/cmd/wick/internal/output"
	"wick/framing"
	"wick/framing/client"
)

// infoCommand returns wick info.
func (t *tool) infoCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "info [NAME]...",
		Short: "Show the guest's version, features and facts",
		Long: `Show the version and features of the guest's extension, how often its machine was restored,
and its facts: the kernel, the mounts, the times of the boot, and what is degraded. With
NAME show only those. A NAME that ends in a dot stands for all that begin with it, such as
mount. for all mounts. --json prints them as one object of texts.`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, args []string) error {
			h, err := c.Hello(ctx)
			if err != nil {
				return err
			}
			return t.info(h, args, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one object of JSON")
	return cmd
}

func (t *tool) info(h *client.Hello, names []string, asJSON bool) error {
	facts := append([]client.Fact{
		{Name: "version", Value: fmt.Sprint(h.Version)}, {Name: "features", Value: featureList(h.Features)}, {Name: "epoch", Value: fmt.Sprint(h.Epoch)},
	}, h.Facts...)
	w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)
	shown := map[string]string{}
	for _, f := range facts {
		if figures.Named(f.Name, names) {
			fmt.Fprintf(w, "%s\t%s\n", output.Printable(f.Name), output.Printable(f.Value))
			shown[f.Name] = f.Value
		}
	}
	if len(shown) == 0 {
		return fmt.Errorf("the guest has no facts named %s", strings.Join(names, ", "))
	}
	if asJSON {
		return output.JSON(t.stdout, shown)
	}
	return w.Flush()
}

// featureList returns the names of the features.
func featureList(f client.Features) string {
	var all []string
	for _, known := range []struct {
		bit  client.Features
		name string
	}{
		{framing.FeatureProcesses, "processes"}, {framing.FeatureTerminals, "terminals"}, {framing.FeatureFiles, "files"},
		{framing.FeatureStats, "stats"}, {framing.FeaturePressure, "pressure"}, {framing.FeatureRestore, "restore"},
		{framing.FeatureFreeze, "freeze"}, {framing.FeaturePower, "power"},
		{framing.FeatureForward, "forward"}, {framing.FeaturePorts, "ports"}, {framing.FeatureNetwork, "network"},
		{framing.FeatureEvidence, "evidence"},
		{framing.FeatureDisks, "disks"},
		{framing.FeatureWatch, "watch"},
		{framing.FeatureIdentity, "identity"},
		{framing.FeatureServices, "services"},
		{framing.FeatureConfigure, "configure"},
		{framing.FeatureConfine, "confine"},
	} {
		if f&known.bit != 0 {
			all = append(all, known.name)
		}
	}
	return strings.Join(all, " ")
}
