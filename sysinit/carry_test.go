//go:build linux

package sysinit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// runImage makes an image like those for containers, with directories of daemons in /run.
func runImage() ([]byte, error) {
	return squash(func(root string) error {
		at := func(name string) string { return filepath.Join(root, name) }
		for _, d := range []string{"run/mysqld", "run/lock/sub", "run/secret", "dev/shm/queue", "dev/mapper", "var"} {
			if err := os.MkdirAll(at(d), 0o755); err != nil {
				return err
			}
		}
		holes := make([]byte, 1<<20)
		copy(holes[1<<19:], "middle")
		day := time.Unix(86400, 0)
		for _, err := range []error{
			os.WriteFile(at("run/mysqld/mysqld.pid"), []byte("17\n"), 0o640),
			os.WriteFile(at("run/tool"), []byte("tool"), 0o755),
			os.WriteFile(at("run/holes"), holes, 0o600),
			os.WriteFile(at("run/odd \n\xff name"), nil, 0o600),
			os.Symlink("mysqld/mysqld.pid", at("run/pid")),
			os.Link(at("run/tool"), at("run/mysqld/same")),
			unix.Mkfifo(at("run/initctl"), 0o600),
			unix.Mknod(at("run/socket"), unix.S_IFSOCK|0o640, 0),
			unix.Mknod(at("run/node"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))),
			unix.Setxattr(at("run/tool"), "security.capability", capNetRaw, 0),
			os.Lchown(at("run/mysqld"), 101, 102),
			os.Lchown(at("run/pid"), 101, 102),
			os.Lchown(at("run/initctl"), 101, 102),
			os.Lchown(at("run/mysqld/mysqld.pid"), 101, 102),
			unix.Chmod(at("run/mysqld"), 0o2750),
			unix.Chmod(at("run/lock"), 0o1777),
			unix.Chmod(at("run/secret"), 0),
			unix.Chmod(at("run"), 0o751),
			os.Lchown(at("run"), 0, 7),
			os.Chtimes(at("run/mysqld/mysqld.pid"), day, day),
			os.Chtimes(at("run/mysqld"), day, day),
			os.WriteFile(at("dev/shm/queue/file"), []byte("shm"), 0o600),
			os.WriteFile(at("dev/null"), []byte("written by a program in a chroot"), 0o600),
			os.WriteFile(at("dev/leftover"), nil, 0o600),
			unix.Mknod(at("dev/mapper/nothing"), unix.S_IFCHR|0o640, int(unix.Mkdev(1, 3))),
			unix.Mknod(at("dev/gone"), unix.S_IFBLK|0o640, int(unix.Mkdev(240, 99))),
			unix.Mknod(at("dev/zero"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))),
			os.Symlink("/run/log", at("dev/log")),
			os.Symlink("/run", at("var/run")),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// capNetRaw is a file capability, cap_net_raw=ep.
var capNetRaw = []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

// TestCarried checks that the image's content of hidden places is in the mounts over them.
func TestCarried(t *testing.T) {
	if !enter(t, func(o *outside) { o.base(runImage); o.disk(16) }) {
		return
	}
	// All devtmpfs mounts are one file system: the test's nodes would appear in the host's /dev.
	upWithoutDevtmpfs(t)
	for path, want := range map[string]string{
		"/run":                    "drwxr-x--x 0:7",
		"/run/lock":               "dtrwxrwxrwx 0:0",
		"/run/lock/sub":           "drwxr-xr-x 0:0",
		"/run/secret":             "d--------- 0:0",
		"/run/mysqld":             "dgrwxr-x--- 101:102",
		"/run/mysqld/mysqld.pid":  "-rw-r----- 101:102",
		"/run/mysqld/same":        "-rwxr-xr-x 0:0",
		"/run/tool":               "-rwxr-xr-x 0:0",
		"/run/holes":              "-rw------- 0:0",
		"/run/odd \n\xff name":    "-rw------- 0:0",
		"/run/pid":                "Lrwxrwxrwx 101:102",
		"/run/initctl":            "prw------- 101:102",
		"/run/socket":             "Srw-r----- 0:0",
		"/run/node":               "Dcrw------- 0:0",
		"/var/run/mysqld":         "dgrwxr-x--- 101:102",
		"/dev/shm":                "dtrwxrwxrwx 0:0",
		"/dev/shm/queue/file":     "-rw------- 0:0",
		"/dev/mapper/nothing":     "Dcrw-r----- 0:0",
		"/dev/log":                "Lrwxrwxrwx 0:0",
		"/dev/null":               "Dcrw-rw-rw- 0:0",
		"/dev/zero":               "Dcrw-rw-rw- 0:0",
		"/dev/leftover /dev/gone": "",
	} {
		for _, path := range strings.Split(path, " /") {
			path = "/" + strings.TrimPrefix(path, "/")
			var st unix.Stat_t
			info, err := os.Lstat(path)
			if want == "" {
				if err == nil {
					t.Errorf("%s is there", path)
				}
				continue
			}
			if err != nil {
				t.Error(err)
				continue
			}
			if err := unix.Lstat(path, &st); err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().String() + " " + itoa(int(st.Uid)) + ":" + itoa(int(st.Gid)); got != want {
				t.Errorf("%q is %s, want %s", path, got, want)
			}
		}
	}
	if got := read(t, "/run/pid"); got != "17\n" {
		t.Errorf("/run/pid holds %q", got)
	}
	if got := read(t, "/dev/shm/queue/file"); got != "shm" {
		t.Errorf("/dev/shm/queue/file holds %q", got)
	}
	var st, same unix.Stat_t
	if err := errors.Join(unix.Stat("/run/tool", &st), unix.Stat("/run/mysqld/same", &same)); err != nil || st.Ino != same.Ino || st.Nlink != 2 {
		t.Errorf("a hard link: %v, inodes %d and %d, %d links", err, st.Ino, same.Ino, st.Nlink)
	}
	value := make([]byte, 64)
	if n, err := unix.Getxattr("/run/tool", "security.capability", value); err != nil || string(value[:n]) != string(capNetRaw) {
		t.Errorf("capability %x, %v", value[:max(n, 0)], err)
	}
	for _, path := range []string{"/run/mysqld", "/run/mysqld/mysqld.pid"} {
		if err := unix.Stat(path, &st); err != nil || st.Mtim.Sec != 86400 {
			t.Errorf("%s is of %d, %v", path, st.Mtim.Sec, err)
		}
	}
	if err := unix.Stat("/run/holes", &st); err != nil || st.Size != 1<<20 || st.Blocks*512 > 128<<10 {
		t.Errorf("a file with holes: %d bytes in %d blocks, %v", st.Size, st.Blocks, err)
	}
	if got := read(t, "/run/holes"); got[1<<19:1<<19+6] != "middle" || strings.Trim(got, "\x00") != "middle" {
		t.Error("a file with holes has another content")
	}
}

// TestCarriedTooLarge has a /run in the image that exceeds the machine's limit. Every file that
// fits is there and whole.
func TestCarriedTooLarge(t *testing.T) {
	inside := enter(t, func(o *outside) {
		o.base(func() ([]byte, error) {
			return squash(func(root string) error {
				dir := filepath.Join(root, "run")
				return errors.Join(os.MkdirAll(dir+"/zz", 0o755), os.WriteFile(dir+"/b", []byte("b"), 0o600),
					os.WriteFile(dir+"/a", []byte(strings.Repeat("large", 1<<20)), 0o600), os.Lchown(dir+"/zz", 5, 5))
			})
		})
	})
	if !inside {
		return
	}
	c := config()
	c.RunSize = "1m"
	said := ""
	root, err := Up(c, func(s Step, _ time.Duration, err error) {
		if err != nil && s.Name != "ctrl-alt-del" {
			said += err.Error() + "\n"
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, root)
	if want := "/run: copy /run/a: no space left on device\n"; said != want {
		t.Errorf("said %q, want %q", said, want)
	}
	if _, err := os.Lstat("/run/a"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a part of the file is there: %v", err)
	}
	var st unix.Stat_t
	if err := unix.Stat("/run/zz", &st); err != nil || st.Uid != 5 || read(t, "/run/b") != "b" {
		t.Errorf("the rest is not there: %v, owner %d", err, st.Uid)
	}
}

// TestCarriedThroughLink has a /run in the image that is a link, as in early systems with a /run.
func TestCarriedThroughLink(t *testing.T) {
	inside := enter(t, func(o *outside) {
		o.base(func() ([]byte, error) {
			return squash(func(root string) error {
				return errors.Join(os.MkdirAll(root+"/var/run/sshd", 0o755), os.Symlink("/var/run", root+"/run"))
			})
		})
	})
	if !inside {
		return
	}
	mustUp(t, config())
	if !strings.Contains(mounts(t), "/var/run tmpfs") {
		t.Errorf("mounts:\n%s", mounts(t))
	}
	if st, err := os.Stat("/run/sshd"); err != nil || !st.IsDir() {
		t.Errorf("/run/sshd: %v", err)
	}
}

// TestTemporary checks that directories for temporary files get mode 1777 if a plain mkdir made
// them. Others are left alone.
func TestTemporary(t *testing.T) {
	for name, c := range map[string]struct {
		tmp    uint32
		owner  int
		varTmp string
		want   string
	}{
		"closed": {0o755, 0, "", "dtrwxrwxrwx dtrwxrwxrwx"},
		"owned":  {0o700, 9, "link", "drwx------ Lrwxrwxrwx"},
	} {
		t.Run(name, func(t *testing.T) {
			inside := enter(t, func(o *outside) {
				o.base(func() ([]byte, error) {
					return squash(func(root string) error {
						err := errors.Join(os.Mkdir(root+"/tmp", 0o755), os.Mkdir(root+"/var", 0o755),
							os.Lchown(root+"/tmp", c.owner, 0), unix.Chmod(root+"/tmp", c.tmp))
						if c.varTmp == "link" {
							err = errors.Join(err, os.Symlink("/tmp", root+"/var/tmp"))
						}
						return err
					})
				})
			})
			if !inside {
				return
			}
			mustUp(t, config())
			got := ""
			for _, path := range []string{"/tmp", "/var/tmp"} {
				st, err := os.Lstat(path)
				if err != nil {
					t.Fatal(err)
				}
				got += " " + st.Mode().String()
			}
			if got[1:] != c.want {
				t.Errorf("/tmp and /var/tmp are %s, want %s", got[1:], c.want)
			}
		})
	}
}
