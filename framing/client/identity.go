package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"wick/framing"
)

// Identity says who a machine is that was restored from a snapshot, so that it is not its twin.
// The zero Identity changes nothing, and tells the machine's programs of the restore.
type Identity struct {
	// Time is what the guest's clock is set to; zero to leave it.
	Time time.Time
	// Entropy is credited to the kernel's generator, which is reseeded: at most MaxEntropy
	// bytes, never used before.
	Entropy []byte
	// Hostname is the machine's new name; empty to leave it.
	Hostname string
	// MachineID is for /etc/machine-id: "new" for a random one, or 32 hexadecimal digits. Empty
	// leaves it.
	MachineID string
	// Timezone is the name of a file below /usr/share/zoneinfo, as "Europe/Berlin"; empty to
	// leave it.
	Timezone string
	// Network replaces the machine's network configuration; nil to leave it. Its Hostname is
	// used if this one's is empty.
	Network *Network
	// DropConnections destroys the guest's TCP connections, except those over loopback
	// addresses.
	DropConnections bool
}

// IdentityPart is what became of one part of an Identity.
type IdentityPart struct {
	// Name is that of framing/extension.md: "clock", "machine-id", "command".
	Name string
	// Value is a number that some parts have: connections destroyed, the command's exit code.
	Value uint64
	// Text says what was done, such as the new machine-id. It is empty after an error.
	Text string
	// Err is an [*OpError], or nil.
	Err error
}

// IdentityResult is what became of an Identity.
type IdentityResult struct {
	// Epoch is how many restores of its machine the guest knows of.
	Epoch uint64
	// Parts are in the order in which they were done.
	Parts []IdentityPart
}

// Part returns the part of that name, if there was one.
func (r *IdentityResult) Part(name string) (part IdentityPart, ok bool) {
	for _, p := range r.Parts {
		if p.Name == name {
			return p, true
		}
	}
	return IdentityPart{}, false
}

// Err returns the errors of all parts, joined, and that of a command whose exit code is not 0. It
// is nil if everything was done.
func (r *IdentityResult) Err() error {
	var all []error
	for _, p := range r.Parts {
		if p.Err == nil && p.Name == "command" && p.Value != 0 {
			p.Err = fmt.Errorf("restore: command: exit code %d", p.Value)
		}
		all = append(all, p.Err)
	}
	return errors.Join(all...)
}

// SetIdentity tells the guest that its machine was restored from a snapshot, as Restore does, and
// gives it an identity of its own. The guest does all that it can, and tells its programs at the
// end. The result's Err says what could not be done. After an [*OpError] with EINVAL or EBUSY
// nothing was done.
func (c *Client) SetIdentity(ctx context.Context, id Identity) (*IdentityResult, error) {
	m, size, err := id.message()
	if err != nil {
		return nil, err
	}
	call, err := c.request(ctx, framing.FeatureIdentity, framing.TypeIdentityResult, size, func(dst []byte, seq uint32) []byte {
		return framing.AppendIdentity(dst, seq, m)
	})
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	defer call.release()
	if call.isDone {
		return nil, opError("identity", &call.reply.done)
	}
	parsed, err := framing.ParseIdentityResult(call.payload)
	if err != nil {
		return nil, c.broken(err)
	}
	r := &IdentityResult{Epoch: parsed.Epoch}
	for p := range parsed.All {
		part := IdentityPart{Name: string(p.Name), Value: p.Value, Err: opError("restore: "+string(p.Name), &p.Done)}
		if part.Err == nil {
			part.Text = string(p.Reason)
		}
		r.Parts = append(r.Parts, part)
	}
	return r, nil
}

// message is the identity on the wire.
func (id *Identity) message() (m *framing.Identity, size int, err error) {
	m = &framing.Identity{Entropy: id.Entropy}
	if len(id.Entropy) > MaxEntropy {
		return nil, 0, &RequestError{Op: "identity", Reason: fmt.Sprintf("entropy has %d bytes, an identity holds %d", len(id.Entropy), MaxEntropy)}
	}
	if !id.Time.IsZero() {
		m.UnixNS = uint64(id.Time.UnixNano())
	}
	hostname := id.Hostname
	if n := id.Network; n != nil {
		if hostname == "" {
			hostname = n.Hostname
		}
		if len(n.Interfaces)+len(n.DNS)+len(n.Search) == 0 {
			return nil, 0, &RequestError{Op: "identity", Reason: "the network has no interfaces, name servers or domains"}
		}
		without := *n
		without.Hostname = ""
		if m.Words, size, err = without.words(); err != nil {
			return nil, 0, err
		}
	}
	words := [][2]string{{"--hostname", hostname}, {"--machine-id", id.MachineID}, {"--timezone", id.Timezone}}
	if id.DropConnections {
		words = append(words, [2]string{"--drop-connections", "yes"})
	}
	for _, word := range words {
		if word[1] == "" {
			continue
		}
		text := word[0] + "=" + word[1]
		if len(text) > maxNetworkWord || strings.Contains(text, "\x00") {
			return nil, 0, &RequestError{Op: "identity", Reason: fmt.Sprintf("%s: longer than %d bytes, or with a NUL", word[0], maxNetworkWord)}
		}
		m.Words.Add(text)
		size += 2 + len(text)
	}
	return m, size + framing.HeaderSize + 8 + 2 + len(id.Entropy) + 2, nil
}
