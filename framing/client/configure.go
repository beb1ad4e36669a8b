package client

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"wick/framing"
)

// maxConfigure is the longest payload of a configure that a guest takes, in bytes.
const maxConfigure = 256 << 10

// A Secret is a value that only commands of the guest get. The guest holds it in memory, and no
// answer has it.
type Secret struct {
	// Name is that of an environment entry, or of a file below /run/secrets.
	Name string
	// Value has any bytes. An entry has no NUL.
	Value []byte
	// Env makes it an entry of the environment of later commands. Otherwise it is a file.
	Env bool
	// Mode has the permission bits of a file; 0 means 0400.
	Mode fs.FileMode
	// Owner is the owner of a file, "name" or "uid", either with ":group" or ":gid". Empty
	// means the agent's own user.
	Owner string
}

func (s *Secret) record() *framing.Secret {
	r := &framing.Secret{
		Kind: framing.SecretFile, Mode: uint16(s.Mode.Perm()), Owner: []byte(s.Owner),
		Name: []byte(s.Name), Value: s.Value,
	}
	if s.Env {
		r.Kind = framing.SecretEnv
	}
	if r.Mode == 0 {
		r.Mode = 0o400
	}
	return r
}

// A ConfigError says what a guest did not accept of a configuration. The rest took effect.
type ConfigError struct {
	// Faults have the line, such as "line.3", or the secret, such as "secret.TOKEN", and the
	// reason.
	Faults []Fact
}

// Error returns all faults, separated by semicolons.
func (e *ConfigError) Error() string {
	var text strings.Builder
	text.WriteString("configure")
	separator := ": "
	for _, f := range e.Faults {
		text.WriteString(separator + strings.Replace(f.Name, ".", " ", 1) + ": " + f.Value)
		separator = "; "
	}
	return text.String()
}

// Configure sets options of the guest, one a line: name=value. They win over those of its image,
// of its configuration drive and of its kernel's command line. Secrets are set before the
// options.
//
// A [*ConfigError] says which lines and secrets were not accepted. Everything else took effect.
func (c *Client) Configure(ctx context.Context, text string, secrets ...Secret) error {
	var list framing.Secrets
	for i := range secrets {
		if err := checkSecret(secrets[i].Name, secrets[i].Owner); err != nil {
			return err
		}
		list.Add(secrets[i].record())
	}
	return c.configure(ctx, text, list)
}

// SetSecret sets a secret, or replaces that of the same name and kind.
func (c *Client) SetSecret(ctx context.Context, s Secret) error { return c.Configure(ctx, "", s) }

// RemoveSecret has the guest forget the entry and the file of that name, if there are any.
// Processes that run keep their environment.
func (c *Client) RemoveSecret(ctx context.Context, name string) error {
	if err := checkSecret(name, ""); err != nil {
		return err
	}
	var list framing.Secrets
	list.Add(&framing.Secret{Kind: framing.SecretRemove, Name: []byte(name)})
	return c.configure(ctx, "", list)
}

// Secrets returns the names of the guest's secrets, without their values.
func (c *Client) Secrets(ctx context.Context) ([]Secret, error) {
	if err := c.need(ctx, framing.FeatureConfigure); err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	h, err := c.Hello(ctx)
	if err != nil {
		return nil, err
	}
	var secrets []Secret
	for name := range h.Under("secret.env.") {
		secrets = append(secrets, Secret{Name: name, Env: true})
	}
	for name, value := range h.Under("secret.file.") {
		s := Secret{Name: name}
		if _, err := fmt.Sscanf(value, "%o %s", &s.Mode, &s.Owner); err != nil {
			return nil, c.broken(fmt.Errorf("secret %q: mode and owner are %q", name, value))
		}
		secrets = append(secrets, s)
	}
	return secrets, nil
}

func checkSecret(name, owner string) error {
	if len(name) > 255 || strings.Contains(name+owner, "\x00") || len(owner) > framing.MaxText {
		return &RequestError{Op: "configure", Reason: "name of a secret is longer than 255 bytes, or has a NUL"}
	}
	return nil
}

func (c *Client) configure(ctx context.Context, text string, secrets framing.Secrets) error {
	size := framing.ConfigureSize([]byte(text), secrets)
	if size > maxConfigure {
		return &RequestError{Op: "configure", Reason: fmt.Sprintf("%d bytes, a configuration has at most %d", size, maxConfigure)}
	}
	encode := func(dst []byte, seq uint32) []byte {
		return framing.AppendConfigure(dst, seq, []byte(text), secrets)
	}
	call, err := c.request(ctx, framing.FeatureConfigure, framing.TypeFacts, framing.HeaderSize+size, encode)
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	defer call.release()
	if call.isDone {
		return opError("configure", &call.reply.done)
	}
	facts, err := framing.ParseFacts(call.payload)
	if err != nil {
		return c.broken(err)
	}
	if facts.Len() == 0 {
		return nil
	}
	e := &ConfigError{}
	for name, value := range facts.All {
		e.Faults = append(e.Faults, Fact{string(name), string(value)})
	}
	return e
}
