package client

import (
	"context"
	"fmt"
	"strings"

	"wick/framing"
)

// Network is a network configuration of the machine. Its parts are words as vm-init's command line
// has them, without the option's name.
type Network struct {
	// Interfaces are the interfaces, each a name or a MAC address and its fields, as
	// "eth0,addr=10.0.2.15/24,gw=10.0.2.2". Those of the last configuration that are missing lose
	// what that gave them.
	Interfaces []string
	// DNS are the addresses of name servers, at most three. Search are the search domains.
	DNS, Search []string
	// Hostname is the machine's new name; empty to leave it.
	Hostname string
}

// words are the configuration on the wire.
func (n *Network) words() (w framing.NetworkWords, size int, err error) {
	add := func(option string, values ...string) {
		for _, v := range values {
			word := option + "=" + v
			if len(word) > maxNetworkWord || strings.Contains(word, "\x00") {
				err = &RequestError{Op: "set network", Reason: fmt.Sprintf("%s: longer than %d bytes, or with a NUL", option, maxNetworkWord)}
			}
			w.Add(word)
			size += 2 + len(word)
		}
	}
	add("--net", n.Interfaces...)
	add("--dns", n.DNS...)
	add("--search", n.Search...)
	if n.Hostname != "" {
		add("--hostname", n.Hostname)
	}
	return w, size, err
}

// maxNetworkWord is the longest word of a configuration, in bytes.
const maxNetworkWord = 4096

// SetNetwork replaces the machine's network configuration, as a clone needs it after a restore. The
// guest does all that it can. An [*OpError] says what could not be done, with the errno of the
// first such thing: ENODEV is an interface that is not there. With EINVAL and a word in the text
// nothing was done.
func (c *Client) SetNetwork(ctx context.Context, n Network) error {
	words, size, err := n.words()
	if err != nil {
		return err
	}
	_, err = c.operate(ctx, framing.FeatureNetwork, "set network", framing.HeaderSize+2+size, func(dst []byte, seq uint32) []byte {
		return framing.AppendNetwork(dst, seq, words)
	})
	return err
}

// Network returns what the machine's network is now: facts such as "net.eth0" with the fields that
// would make it so, "resolv.conf" with the content of that file, and "hostname". "degraded.network"
// says what could not be done of the last configuration.
func (c *Client) Network(ctx context.Context) ([]Fact, error) {
	call, err := c.request(ctx, framing.FeatureNetwork, framing.TypeFacts, framing.HeaderSize, func(dst []byte, seq uint32) []byte {
		return framing.AppendFrame(dst, framing.TypeNetworkShow, seq, nil)
	})
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	defer call.release()
	if call.isDone {
		return nil, opError("network", &call.reply.done)
	}
	return c.facts(call.payload)
}
