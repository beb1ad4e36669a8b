package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/exit"
	"wick/cmd/wick/internal/output"
	"wick/framing/client"
)

// servicesCommand returns wick services.
func (t *tool) servicesCommand() *cobra.Command {
	var f output.Flags
	var wait string
	cmd := &cobra.Command{
		Use:   "services [flags]",
		Short: "List the programs that the guest starts by itself",
		Long: `List the programs that the guest starts by itself: the workload, and further services.

With --wait, wait until the service NAME is ready, or has ended with code 0 and is not
started again. The exit code is 1 if it has failed or was stopped.

The fields of --json are name, state, waits, pid, restarts, code once it has ended, error
and status.`,
		Example: `  wick services
  wick services --wait db && wick forward 5432`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
			if wait != "" {
				return awaitService(ctx, c, wait, isUp)
			}
			list, err := c.Services(ctx)
			if err != nil {
				return err
			}
			return output.List(t.stdout, &f, serviceLines(list), func(s serviceLine) string { return s.Name }, func(w io.Writer) { serviceTable(w, list) })
		}),
	}
	cmd.PreRunE = func(*cobra.Command, []string) error { return f.Check() }
	f.Add(cmd, "names")
	cmd.Flags().StringVar(&wait, "wait", "", "wait until the service `NAME` is ready")
	cmd.MarkFlagsMutuallyExclusive("json", "wait")
	cmd.RegisterFlagCompletionFunc("wait", cobra.NoFileCompletions)
	return cmd
}

// statusOf returns what there is to say about a service.
func statusOf(s *client.Service) string {
	switch {
	case s.Waits != "":
		return "waits for " + s.Waits
	case s.Error != "":
		return s.Error
	}
	return s.Status
}

// serviceTable prints a list of services.
func serviceTable(w io.Writer, list []client.Service) {
	fmt.Fprintln(w, "NAME\tSTATE\tPID\tRESTARTS\tCODE\tSTATUS")
	for _, s := range list {
		code := "-"
		if s.Ended {
			code = strconv.Itoa(s.Code)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", output.Printable(s.Name), output.Printable(s.State),
			output.Known(uint64(s.PID), fmt.Sprint(s.PID)), s.Restarts, code, output.Printable(statusOf(&s)))
	}
}

// isUp reports whether a service is ready, or has done its work. The error says that it never will.
func isUp(s *client.Service) (done bool, err error) {
	switch {
	case s.State == "ready", s.State == "ended" && s.Ended && s.Code == 0:
		return true, nil
	case s.State == "failed", s.State == "ended":
		reason := statusOf(s)
		if reason == "" {
			reason = "it has ended with code " + strconv.Itoa(s.Code)
		}
		return false, fmt.Errorf("service %s is not ready: %s", s.Name, reason)
	}
	return false, nil
}

// isDown reports whether a service does not run, nor waits to be started.
func isDown(s *client.Service) (done bool, err error) {
	return s.State == "ended" || s.State == "failed", nil
}

// awaitService waits until done reports true or an error for a service.
func awaitService(
	ctx context.Context, c *client.Client, name string, done func(*client.Service) (bool, error),
) error {
	for list, err := range c.WatchServices(ctx) {
		if err != nil {
			return err
		}
		found := false
		for _, s := range list {
			if s.Name != name {
				continue
			}
			found = true
			if ok, err := done(&s); ok || err != nil {
				return err
			}
		}
		if !found {
			return fmt.Errorf("no service is named %s; wick services lists them", name)
		}
	}
	return errors.New("the watch of services has ended")
}

// serviceCommand returns wick service.
func (t *tool) serviceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "service",
		Short: "Start, stop, restart or signal a service of the guest",
	}
	add := func(use, short, long string, do func(ctx context.Context, c *client.Client, name string) error) {
		cmd.AddCommand(&cobra.Command{
			Use: use + " NAME", Short: short, Long: long,
			Args:              needs("NAME"),
			ValidArgsFunction: cobra.NoFileCompletions,
			RunE: t.inGuest(func(ctx context.Context, c *client.Client, args []string) error {
				return do(ctx, c, args[0])
			}),
		})
	}
	add("start", "Start a service", `Start a service that does not run, whatever it waits for. It does not wait until the
service is ready; wick services --wait does.`,
		func(ctx context.Context, c *client.Client, name string) error { return c.StartService(ctx, name) })
	add("stop", "Stop a service", `Stop a service with its own signal, and wait until it has ended. If it survives that for
its own time, it is killed. It is not started again until wick service start.`,
		func(ctx context.Context, c *client.Client, name string) error {
			if err := c.StopService(ctx, name); err != nil {
				return err
			}
			return awaitService(ctx, c, name, isDown)
		})
	add("restart", "Stop a service and start it again", `Stop a service as wick service stop does, and start it again. It does not wait until the
service is ready; wick services --wait does.`,
		func(ctx context.Context, c *client.Client, name string) error { return c.RestartService(ctx, name) })
	cmd.AddCommand(&cobra.Command{
		Use:               "signal NAME SIGNAL",
		Short:             "Send a signal to a service",
		Long:              `Send a signal to the process group of a service. SIGNAL is a name, with or without SIG, or a number.`,
		Args:              needs("NAME", "SIGNAL"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			sig, err := parseSignal(args[1])
			if err != nil {
				return exit.Usage(err)
			}
			c, err := t.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			return c.SignalService(cmd.Context(), args[0], sig)
		},
	})
	return cmd
}
