package etc

import (
	"golang.org/x/sys/unix"

	"wick/reactor/agent/internal/sys"
)

const (
	// NewID asks for a random machine-id.
	NewID = "new"
	// IDDigits is the length of a machine-id; machine-id(5).
	IDDigits = 32
)

// Root is the directory whose /etc, /run, /usr and /var are meant. It is empty for the machine's
// own.
type Root string

// SetMachineID writes /etc/machine-id, and the copy of an older D-Bus. It returns the identifier,
// which for NewID is a random one.
// If /etc is read-only, /run/machine-id is mounted there, as systemd does it.
func (r Root) SetMachineID(id string) (made string, err error) {
	if id == NewID {
		const source = "/proc/sys/kernel/random/uuid"
		var buf [64]byte
		uuid := sys.ReadText(source, buf[:])
		for id = ""; uuid != ""; {
			var part string
			part, uuid, _ = sys.Cut(uuid, '-')
			id += part
		}
		if len(id) != IDDigits {
			return "", sys.NewError("read", source, unix.EIO)
		}
	}
	path, line := string(r)+"/etc/machine-id", id+"\n"
	errno := Replace(path, line, 0o444)
	if errno == unix.EROFS {
		if errno = Overwrite(path, line, 0o444); errno == unix.EROFS { // not mounted yet
			other := string(r) + "/run/machine-id"
			if errno = Replace(other, line, 0o444); errno == 0 {
				errno = sys.ErrnoOf(unix.Mount(other, path, "", unix.MS_BIND, ""))
			}
		}
	}
	if errno != 0 {
		return "", sys.NewError("write", path, errno)
	}
	var st unix.Stat_t
	path = string(r) + "/var/lib/dbus/machine-id"
	if unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
		if errno = Replace(path, line, 0o444); errno != 0 {
			return id, sys.NewError("write", path, errno)
		}
	}
	return id, nil
}

// SetTimezone has /etc/localtime lead to a file of /usr/share/zoneinfo, in one step. An
// /etc/timezone that exists, as Debian's, gets the name.
func (r Root) SetTimezone(zone string) error {
	file := "/usr/share/zoneinfo/" + zone
	var st unix.Stat_t
	if err := unix.Stat(string(r)+file, &st); err != nil {
		return sys.NewError("stat", file, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return sys.NewError("stat", file, unix.EINVAL)
	}
	path := string(r) + "/etc/localtime"
	temporary := path + ".wick"
	unix.Unlink(temporary)
	err := unix.Symlink(".."+file, temporary)
	if err == nil {
		if err = unix.Rename(temporary, path); err != nil {
			unix.Unlink(temporary)
		}
	}
	if err != nil {
		return sys.NewError("write", path, err)
	}
	path = string(r) + "/etc/timezone"
	if unix.Stat(path, &st) == nil {
		if errno := Replace(path, zone+"\n", 0o644); errno != 0 {
			return sys.NewError("write", path, errno)
		}
	}
	return nil
}
