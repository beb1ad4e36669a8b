package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wick/cmd/wick/internal/output"
	"wick/framing"
	"wick/framing/client"
)

// restoreEntropy is the entropy that a restored guest gets, in bytes. The state of the kernel's
// generator has this size.
const restoreEntropy = 64

// restoreCommand returns wick restore.
func (t *tool) restoreCommand() *cobra.Command {
	var keepClock bool
	var id client.Identity
	var n client.Network
	cmd := &cobra.Command{
		Use:   "restore [--hostname NAME] [--machine-id new|ID] [--net NIC[,FIELD]...]...",
		Short: "Give a guest that was restored from a snapshot its clock, entropy and identity",
		Long: `Tell a guest that its machine was restored from a snapshot. Its clock is set to the host's.
Its kernel gets fresh entropy, because otherwise all machines restored from one snapshot
have the same random numbers. Its file system and its commands are thawed if the snapshot
was taken after wick freeze.

The options make a copy of a machine differ from the others. --net, --dns and --search
replace the network configuration, as wick net set does. Without them it stays. The guest
does all that it can, then runs its restore-command, and tells its workload last. The
guest's new epoch is printed, and what is known only now: a new machine-id, how many
connections were dropped. The exit code is 1 if a part could not be done.`,
		Example: `  wick restore
  wick restore --hostname clone-7 --machine-id new --net eth0,addr=10.0.0.7/24,gw=10.0.0.1 \
      --drop-connections`,
		Args:              needs(),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.inGuest(func(ctx context.Context, c *client.Client, _ []string) error {
			id.Entropy = make([]byte, restoreEntropy)
			rand.Read(id.Entropy)
			if !keepClock {
				id.Time = time.Now()
			}
			id.Network = nil
			if len(n.Interfaces)+len(n.DNS)+len(n.Search) > 0 {
				id.Network = &n
			}
			return t.restore(ctx, c, id)
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&keepClock, "keep-clock", false, "leave the clock as it is")
	f.StringVar(&id.Hostname, "hostname", "", "new host `NAME` of the machine")
	f.StringVar(&id.MachineID, "machine-id", "", "new /etc/machine-id: \"new\" for a random one, or an `ID` of 32 hexadecimal digits")
	f.StringVar(&id.Timezone, "timezone", "", "time `ZONE`, as Europe/Berlin")
	f.StringArrayVar(&n.Interfaces, "net", nil, "an interface, `NIC[,FIELD]...`, as of wick net set; may be repeated")
	f.StringArrayVar(&n.DNS, "dns", nil, "`ADDRESS` of a name server; may be repeated")
	f.StringArrayVar(&n.Search, "search", nil, "search `DOMAIN`; may be repeated")
	f.BoolVar(&id.DropConnections, "drop-connections", false, "destroy the guest's TCP connections, except those over loopback addresses")
	return cmd
}

// restore gives the guest the identity. A guest that is older than that is told of the restore, if
// nothing else is wanted.
func (t *tool) restore(ctx context.Context, c *client.Client, id client.Identity) error {
	r, err := c.SetIdentity(ctx, id)
	plain := id.Hostname+id.MachineID+id.Timezone == "" && id.Network == nil && !id.DropConnections
	if errors.Is(err, errors.ErrUnsupported) && plain {
		if h, helloErr := c.Hello(ctx); helloErr == nil && h.Features&framing.FeatureIdentity == 0 {
			r = &client.IdentityResult{}
			r.Epoch, err = c.Restore(ctx, id.Time, id.Entropy)
		}
	}
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(t.stdout, "epoch %d\n", r.Epoch); err != nil {
		return err
	}
	for _, p := range r.Parts {
		switch {
		case p.Err != nil:
		case p.Name == "connections":
			fmt.Fprintf(t.stdout, "connections %d\n", p.Value)
		case p.Text != "":
			fmt.Fprintf(t.stdout, "%s %s\n", output.Printable(p.Name), output.Printable(p.Text))
		}
	}
	if err := r.Err(); err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}
