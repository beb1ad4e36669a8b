package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/output"
	"wick/framing"
	"wick/framing/client"
)

// watchWords has the kinds of changes as they are printed.
var watchWords = [...]string{
	framing.WatchLook: "look", framing.WatchCreated: "created", framing.WatchModified: "modified",
	framing.WatchAttributed: "attributes", framing.WatchRenamed: "renamed", framing.WatchRemoved: "removed",
}

// watchCommand returns "wick watch".
func (t *tool) watchCommand() *cobra.Command {
	var o client.WatchOptions
	var flat, inJSON, once bool
	cmd := &cobra.Command{
		Use:   "watch PATH...",
		Short: "Print changes of files in the guest",
		Long: `Print a line for each change of a file below the directories PATH, or of the single files PATH:
created, modified, renamed (from and to) or removed, and the path. A directory's path ends with a
slash. The line "look" comes first, when all directories are watched. It comes again when changes
were missed: look at the files then.

Directories that appear are watched too. Other file systems below PATH are not. The temporary files
of the agent's own writes are not reported.`,
		Example: `  wick watch /srv/app --skip .git --skip node_modules
  wick watch --once /etc/app.conf && wick exec reload`,
		Args: needs("PATH..."),
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, args []string) error {
			o.Tree = !flat
			return t.watch(ctx, c, args, o, inJSON, once)
		}),
	}
	flags := cmd.Flags()
	flags.BoolVar(&flat, "flat", false, "do not watch the directories below PATH")
	flags.BoolVarP(&o.Attributes, "attributes", "a", false, "print changes of mode, owner and times too")
	flags.StringArrayVar(&o.Skip, "skip", nil, "do not print files and directories of this `NAME`; may be repeated")
	flags.BoolVar(&inJSON, "json", false, "print each change as a line of JSON")
	flags.BoolVarP(&once, "once", "1", false, "exit after the first change")
	return cmd
}

// watched is an event of one of several paths, or the error that ended its watch.
type watched struct {
	root  string
	event client.WatchEvent
	err   error
}

// watch prints the changes of all paths.
func (t *tool) watch(ctx context.Context, c *client.Client, paths []string, o client.WatchOptions, inJSON, once bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan watched)
	for _, root := range paths {
		go func() {
			for e, err := range c.Watch(ctx, root, o) {
				select {
				case events <- watched{root, e, err}:
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	for {
		var w watched
		select {
		case w = <-events:
		case <-ctx.Done():
			return ctx.Err()
		}
		if errors.Is(w.err, syscall.ENOSPC) {
			return fmt.Errorf("watch %s: too many directories; --skip some, or raise --max-watches of the agent", w.root)
		}
		if w.err != nil {
			return w.err
		}
		if err := t.printWatched(&w, inJSON); err != nil {
			return err
		}
		if once && w.event.Kind != framing.WatchLook {
			return nil
		}
	}
}

// printWatched prints an event.
func (t *tool) printWatched(w *watched, inJSON bool) error {
	e := &w.event
	path, other := watchedPath(w.root, e.Path), ""
	if e.Kind == framing.WatchRenamed {
		other = watchedPath(w.root, e.Other)
	}
	if inJSON {
		return output.JSON(t.stdout, struct {
			Event string `json:"event"`
			Path  string `json:"path"`
			To    string `json:"to,omitempty"`
			Dir   bool   `json:"dir"`
		}{watchWords[e.Kind], path, other, e.Dir})
	}
	line := watchWords[e.Kind] + " " + output.Printable(path)
	slash := ""
	if e.Dir && path[len(path)-1] != '/' {
		slash = "/"
	}
	line += slash
	if other != "" {
		line += " -> " + output.Printable(other) + slash
	}
	_, err := fmt.Fprintln(t.stdout, line)
	return err
}

// watchedPath returns the path of an event.
func watchedPath(root, path string) string {
	switch {
	case path == "":
		return root
	case root[len(root)-1] == '/':
		return root + path
	}
	return root + "/" + path
}
