package accounts

import (
	"context"
	"io"
	"strconv"
	"strings"

	"wick/framing/client"
)

// User is a user of the guest.
type User struct{ Name, Home, Shell string }

// LookUp finds a user in the guest's /etc/passwd by name or number, by default the agent's own.
// The shell is sh if the user has no usable one.
func LookUp(ctx context.Context, c *client.Client, user string) User {
	user, _, _ = strings.Cut(user, ":")
	if user == "" {
		// The agent's directory in /proc belongs to the agent's user.
		self, err := c.Stat(ctx, "/proc/self")
		if err != nil {
			return User{Shell: "sh"}
		}
		user = strconv.FormatUint(uint64(self.UID()), 10)
	}
	found := passwdEntry(readPasswd(ctx, c), user)
	switch base := found.Shell[strings.LastIndexByte(found.Shell, '/')+1:]; base {
	case "", "nologin", "false", "sync", "shutdown", "halt":
		found.Shell = "sh"
	}
	return found
}

// maxPasswd limits how much of /etc/passwd is read, in bytes.
const maxPasswd = 1 << 20

// readPasswd returns the guest's /etc/passwd, or "" on an error.
func readPasswd(ctx context.Context, c *client.Client) string {
	return readSmall(ctx, c, "/etc/passwd")
}

// readSmall returns the first maxPasswd bytes of a file in the guest, or less on an error.
func readSmall(ctx context.Context, c *client.Client, name string) string {
	r, err := c.OpenRead(ctx, name, 0, maxPasswd)
	if err != nil {
		return ""
	}
	defer r.Close()
	b, _ := io.ReadAll(r)
	return string(b)
}

// passwdEntry returns the entry of a user in a passwd(5) file, by name or number.
func passwdEntry(passwd, user string) User {
	for line := range strings.Lines(passwd) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) == 7 && (f[0] == user || f[2] == user) {
			return User{f[0], f[5], f[6]}
		}
	}
	return User{}
}
