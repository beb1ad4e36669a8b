//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"wick/cmd/wick/internal/usernet"
	"wick/framing/client"
)

// hostFlags has the flags of wick run that docker has, about names and the host's view.
type hostFlags struct {
	hostname, idFile   string
	dns, search, hosts []string
	// accepted are flags that ask for what a machine does anyway.
	privileged bool
}

func (f *hostFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.hostname, "hostname", "", "`NAME` of the machine in its network")
	flags.StringArrayVar(&f.dns, "dns", nil, "`ADDRESS` of a name server, with --net; may be repeated")
	flags.StringArrayVar(&f.search, "dns-search", nil, "search `DOMAIN`, with --net; may be repeated")
	flags.StringArrayVar(&f.hosts, "add-host", nil, "add `NAME:ADDRESS` to the guest's /etc/hosts; may be repeated")
	flags.StringVar(&f.idFile, "cidfile", "", "write the machine's id to a new `FILE`")
	flags.BoolVar(&f.privileged, "privileged", false, "accepted: root may do everything in the guest")
	for _, name := range []string{"hostname", "dns", "dns-search", "add-host"} {
		cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// hostForm is the form of a host name and of a domain.
var hostForm = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?$`)

// check checks the flags of r, and adds to its options what they say.
func (f *hostFlags) check(r *runner) error {
	o := &r.options
	if f.hostname != "" {
		if !hostForm.MatchString(f.hostname) {
			return fmt.Errorf("--hostname %q: want letters, digits, - and ., at most 63", f.hostname)
		}
		o.InitArgs = append([]string{"--hostname=" + f.hostname}, o.InitArgs...)
	}
	if o.Net == nil && len(f.dns)+len(f.search) > 0 {
		return errors.New("--dns and --dns-search need a network: add --net user")
	}
	for _, address := range f.dns {
		if _, err := netip.ParseAddr(address); err != nil {
			return fmt.Errorf("--dns %q: want an address", address)
		}
		o.Net.DNS = append(o.Net.DNS, address)
	}
	for _, domain := range f.search {
		if !hostForm.MatchString(domain) {
			return fmt.Errorf("--dns-search %q: want a domain", domain)
		}
		o.Net.Search = append(o.Net.Search, domain)
	}
	for i, host := range f.hosts {
		name, address, _ := strings.Cut(strings.Replace(host, "=", ":", 1), ":")
		if address == "host-gateway" && o.Net != nil && o.Net.HostLoopback {
			address = usernet.Gateway
		}
		if _, err := netip.ParseAddr(strings.Trim(address, "[]")); err != nil || !hostForm.MatchString(name) {
			if address == "host-gateway" {
				return fmt.Errorf("--add-host %q: the host can be reached only with --net user,host-loopback", host)
			}
			return fmt.Errorf("--add-host %q: want NAME:ADDRESS", host)
		}
		f.hosts[i] = strings.Trim(address, "[]") + "\t" + name + "\n"
	}
	if f.idFile == "" {
		return nil
	}
	if !r.flags.detach && r.stay.name == "" {
		return errors.New("--cidfile is for a machine with an id; add -d or --name")
	}
	if _, err := os.Lstat(f.idFile); err == nil && !r.stay.supervised() {
		return fmt.Errorf("--cidfile %s: the file exists; another machine may be running", f.idFile)
	}
	return nil
}

// writeID writes the machine's id to the file that is to have it.
func (f *hostFlags) writeID(id string) error {
	if f.idFile == "" {
		return nil
	}
	w, err := os.OpenFile(f.idFile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = w.WriteString(id)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		return fmt.Errorf("--cidfile: %w", err)
	}
	return nil
}

// addHosts adds the names of --add-host to the guest's.
func (f *hostFlags) addHosts(ctx context.Context, c *client.Client) error {
	if len(f.hosts) == 0 {
		return nil
	}
	text := strings.Join(f.hosts, "")
	err := c.WriteFile(ctx, "/etc/hosts", strings.NewReader(text), int64(len(text)), client.WriteFileOptions{Append: true})
	if err != nil {
		return fmt.Errorf("--add-host: %w", err)
	}
	return nil
}

// networkValue is the flag --network of wick run. It is docker's name of --net, and that of
// confineFlags for a command's own namespace.
type networkValue struct {
	pflag.Value // of confineFlags
	network     *string
}

func (v networkValue) Set(s string) error {
	switch {
	case s == "private":
		return v.Value.Set(s)
	case s == "bridge" || s == "default":
		s = "user"
	case s == "host":
		return errors.New("a machine has a network of its own; user,host-loopback reaches the host's loopback at " + usernet.Gateway)
	case strings.HasPrefix(s, "container:"):
		return errors.New("a machine has a network of its own; --publish and --net tap=NAME connect machines")
	}
	*v.network = s
	return nil
}
