package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/help"
)

// manCommand returns wick man, which is for packagers.
func (t *tool) manCommand() *cobra.Command {
	date := ""
	cmd := &cobra.Command{
		Use:    "man DIR",
		Short:  "Write manual pages, one for each command, into a directory",
		Hidden: true,
		Args:   needs("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			day, err := time.Parse(time.DateOnly, date)
			if err != nil {
				return exit.Usage(fmt.Errorf("--date %q: want YYYY-MM-DD", date))
			}
			return help.WriteManual(args[0], cmd.Root(), day)
		},
	}
	cmd.Flags().StringVar(&date, "date", time.Now().UTC().Format(time.DateOnly), "`date` on the pages")
	return cmd
}
