package accounts

import (
	"context"
	"fmt"
	"os/user"
	"strconv"
	"strings"

	"wick/framing/client"
)

// Owner looks up the owner USER[:GROUP], in the guest of c, or on this machine if c is nil.
// Without a group it takes the user's own.
func Owner(ctx context.Context, c *client.Client, text string) (*client.Owner, error) {
	name, group, grouped := strings.Cut(text, ":")
	lookUp := lookUpHere
	if c != nil {
		passwd, groups := readPasswd(ctx, c), readSmall(ctx, c, "/etc/group")
		lookUp = func(name string, group bool) (id, main string) {
			text := passwd
			if group {
				text = groups
			}
			for line := range strings.Lines(text) {
				f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
				if len(f) > 3 && (f[0] == name || f[2] == name) {
					return f[2], f[3]
				}
			}
			return name, ""
		}
	}
	owner := client.Owner{UID: client.KeepOwner, GID: client.KeepOwner}
	if name != "" {
		id, main := lookUp(name, false)
		uid, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("there is no user %q", name)
		}
		owner.UID = uint32(uid)
		if gid, err := strconv.ParseUint(main, 10, 32); err == nil {
			owner.GID = uint32(gid)
		} else {
			owner.GID = owner.UID // a number without a passwd entry
		}
	}
	if grouped && group != "" {
		id, _ := lookUp(group, true)
		gid, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("there is no group %q", group)
		}
		owner.GID = uint32(gid)
	}
	return &owner, nil
}

// lookUpHere returns the id of a user or group of this machine, and the user's own group. It
// returns an unknown name itself.
func lookUpHere(name string, group bool) (id, main string) {
	if group {
		if g, err := user.LookupGroup(name); err == nil {
			return g.Gid, ""
		}
		return name, ""
	}
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return name, ""
		}
	}
	return u.Uid, u.Gid
}
