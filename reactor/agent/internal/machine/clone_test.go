package machine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/etc"
	"wick/reactor/agent/internal/roomtest"
)

// cloneRoom makes a service in namespaces of its own, whose /etc is below the directory.
func cloneRoom(t *testing.T) (r *room, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("run as root: no other user may set a host name")
	}
	dir = t.TempDir()
	for _, sub := range []string{"etc", "run", "usr/share/zoneinfo/Europe", "var/lib/dbus"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	roomtest.WriteFile(t, dir+"/usr/share/zoneinfo/Europe/Berlin", "zone")
	roomtest.WriteFile(t, dir+"/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\tbox\n")
	roomtest.WriteFile(t, dir+"/etc/machine-id", strings.Repeat("1", 32)+"\n")
	roomtest.WriteFile(t, dir+"/etc/timezone", "Etc/UTC\n")
	roomtest.WriteFile(t, dir+"/var/lib/dbus/machine-id", "old\n")
	r = newRoom(t)
	r.Do(func() {
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWNET)
		for _, do := range []func() error{
			func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
			func() error { return unix.Mount(dir+"/etc", "/etc", "", unix.MS_BIND, "") },
			func() error { return unix.Sethostname([]byte("box")) },
		} {
			if err == nil {
				err = do()
			}
		}
		if err != nil {
			t.Errorf("a namespace of its own: %v", err)
		}
		r.s.clone.root = etc.Root(dir)
	})
	return r, dir
}

// sh runs a shell command in the room's namespaces.
func (r *room) sh(command string) (out string) {
	r.Helper()
	r.Do(func() {
		b, err := exec.Command("/bin/sh", "-c", command).CombinedOutput()
		if err != nil {
			r.Errorf("%s: %v, %s", command, err, b)
		}
		out = string(b)
	})
	return out
}

func identityFrame(seq uint32, entropy string, words ...string) []byte {
	m := framing.Identity{Entropy: []byte(entropy)}
	for _, word := range words {
		m.Words.Add(word)
	}
	return framing.AppendIdentity(nil, seq, &m)
}

// wantParts reads an answer. Each part is wanted as "name errno value", with its reason behind it
// unless that may be any.
func wantParts(h *roomtest.Host, seq uint32, epoch uint64, want ...string) (last framing.IdentityResult) {
	h.Helper()
	result, err := framing.ParseIdentityResult(h.Want(framing.TypeIdentityResult, seq))
	if err != nil {
		h.Fatal(err)
	}
	var got []string
	for p := range result.All {
		text := fmt.Sprintf("%s %d %d", p.Name, p.Errno, p.Value)
		if i := len(got); i < len(want) && want[i] != text && len(p.Reason) > 0 {
			text += " " + string(p.Reason)
		}
		got = append(got, text)
	}
	if !slices.Equal(got, want) || result.Epoch != epoch {
		h.Errorf("epoch %d, parts %q; want %d, %q", result.Epoch, got, epoch, want)
	}
	return result
}

// TestIdentity gives a machine an identity. Each part is in place when its programs are told.
func TestIdentity(t *testing.T) {
	t.Parallel()
	r, dir := cloneRoom(t)
	generation := ""
	var signals []unix.Signal
	var counted string
	r.Do(func() {
		generation = r.s.Generation
		n := &r.s.Notice
		n.Shell, n.Signal = true, unix.SIGUSR1
		n.Command = shellWords("(cat " + generation + "; echo $WICK_EPOCH; hostname; cat /etc/machine-id) >" + dir + "/told; exit 3")
		r.s.Signal = func(sig unix.Signal) bool {
			signals = append(signals, sig)
			b, _ := os.ReadFile(generation)
			counted = string(b)
			return len(signals) == 1
		}
	})
	roomtest.WantContent(t, generation, "0\n")
	r.sh("ip link add eth0 type veth peer name eth1")
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, generation, unix.IN_MODIFY|unix.IN_CLOSE_WRITE); err != nil {
		t.Fatal(err)
	}

	h := r.Dial()
	const id = "0123456789abcdef0123456789abcdef"
	h.Send(identityFrame(1, "entropy", "--timezone=Europe/Berlin", "--machine-id="+strings.ToUpper(id),
		"--hostname=clone-7.example", "--drop-connections=yes", "--net=eth0,addr=10.9.0.7/24"))
	wantParts(h, 1, 1, "entropy 0 0", "network 0 0", "hostname 0 0", "machine-id 0 0 "+id,
		"timezone 0 0", "connections 0 0", "command 0 3", "generation 0 1", "workload 0 0")
	roomtest.WantContent(t, dir+"/told", "0\n1\nclone-7.example\n"+id+"\n")
	if len(signals) != 1 || signals[0] != unix.SIGUSR1 || counted != "1\n" {
		t.Errorf("signals %v at generation %q, want SIGUSR1 at 1", signals, counted)
	}
	roomtest.WantContent(t, generation, "1\n")
	roomtest.WantContent(t, dir+"/etc/hosts", "127.0.0.1\tlocalhost\n10.9.0.7\tclone-7.example clone-7\n")
	roomtest.WantContent(t, dir+"/var/lib/dbus/machine-id", id+"\n")
	roomtest.WantContent(t, dir+"/etc/timezone", "Europe/Berlin\n")
	if to, err := os.Readlink(dir + "/etc/localtime"); to != "../usr/share/zoneinfo/Europe/Berlin" || err != nil {
		t.Errorf("/etc/localtime leads to %q, %v", to, err)
	}
	if got := r.sh("ip -4 -o addr show eth0"); !strings.Contains(got, "10.9.0.7/24") {
		t.Errorf("eth0 has %q", got)
	}
	var events [4096]byte
	n, err := unix.Read(watch, events[:])
	if err != nil || n != 2*unix.SizeofInotifyEvent ||
		events[4]|events[4+unix.SizeofInotifyEvent] != unix.IN_MODIFY|unix.IN_CLOSE_WRITE {
		t.Errorf("inotify: % x, %v, want IN_MODIFY and IN_CLOSE_WRITE", events[:max(n, 0)], err)
	}

	// One part that fails keeps no other from being done. The entry keeps its address.
	h.Send(identityFrame(2, "", "--timezone=No/Where", "--hostname=clone-8", "--machine-id=new"))
	result := wantParts(h, 2, 2, "hostname 0 0", "machine-id 0 0", "timezone 2 0", "command 0 3",
		"generation 0 2", "workload 3 0")
	for p := range result.All {
		if text, _ := os.ReadFile(dir + "/etc/machine-id"); string(p.Name) == "machine-id" &&
			(string(p.Reason)+"\n" != string(text) || len(p.Reason) != 32 || string(p.Reason) == id) {
			t.Errorf("machine-id %q, the file has %q", p.Reason, text)
		}
	}
	roomtest.WantContent(t, dir+"/etc/hosts", "127.0.0.1\tlocalhost\n10.9.0.7\tclone-8\n")

	// A restore tells the programs too. The first failure is its own.
	h.Send(framing.AppendRestore(nil, 3, 0, nil))
	if d := h.Done(3); d.Errno != uint32(unix.ESRCH) || d.Value != 3 {
		t.Errorf("restore: errno %d (%s), epoch %d, want ESRCH and 3", d.Errno, d.Reason, d.Value)
	}
	roomtest.WantContent(t, generation, "3\n")
}

// shellWords returns a line for the shell.
func shellWords(line string) (words framing.Words) {
	words.Add(line)
	return words
}

// TestIdentityRefused has words that make no sense. Nothing is done.
func TestIdentityRefused(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	h := r.Dial()
	for seq, words := range []string{
		"--hostname=a b", "--hostname=", "--hostname", "--machine-id=", "--machine-id=123",
		"--machine-id=" + strings.Repeat("0", 32), "--machine-id=" + strings.Repeat("g", 32),
		"--machine-id=new --machine-id=new", "--hostname=a --hostname=b", "--timezone=../etc/passwd",
		"--timezone=/Europe/Berlin", "--timezone=Europe/", "--timezone=" + strings.Repeat("a", 65),
		"--timezone=a --timezone=b", "--drop-connections", "--drop-connections=maybe", "--what=1", "",
		"--net=lo", "--net=eth0 --net=eth0", "--dns=no",
	} {
		h.Send(identityFrame(uint32(seq), "", strings.Split(words, " ")...))
		if d := h.Done(uint32(seq)); d.Errno != uint32(unix.EINVAL) || d.Value != 0 {
			t.Errorf("%q: errno %d (%s), epoch %d, want EINVAL and 0", words, d.Errno, d.Reason, d.Value)
		}
	}
	h.Send(identityFrame(99, strings.Repeat("x", 513)))
	h.WantDone(99, unix.EINVAL)
	r.Do(func() {
		if got := r.s.restores.epoch; got != 0 {
			t.Errorf("epoch %d, want 0", got)
		}
	})
}

// TestIdentityReadOnly has an /etc that is read-only. The identifier is mounted there, and then
// written in place.
func TestIdentityReadOnly(t *testing.T) {
	t.Parallel()
	r, dir := cloneRoom(t)
	r.Do(func() {
		err := unix.Mount(dir+"/etc", dir+"/etc", "", unix.MS_BIND, "")
		if err == nil {
			err = unix.Mount("", dir+"/etc", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
		}
		if err != nil {
			t.Error(err)
		}
	})
	h := r.Dial()
	for seq, digit := range []string{"a", "b"} {
		id := strings.Repeat(digit, 32)
		h.Send(identityFrame(uint32(seq), "", "--machine-id="+id))
		wantParts(h, uint32(seq), uint64(seq)+1, "machine-id 0 0 "+id, fmt.Sprint("generation 0 ", seq+1))
		if got := r.sh("cat " + dir + "/etc/machine-id"); got != id+"\n" {
			t.Errorf("/etc/machine-id has %q, want %s", got, id)
		}
	}
	h.Send(identityFrame(3, "", "--timezone=Europe/Berlin"))
	wantParts(h, 3, 3, fmt.Sprintf("timezone %d 0", unix.EROFS), "generation 0 3")
}

// TestNotice has commands that run out of time, are not there, and hold up an identity.
func TestNotice(t *testing.T) {
	t.Parallel()
	r := newRoom(t)
	path, gate := r.Fifo()
	notice := func(timeout time.Duration, line string) {
		r.Do(func() { r.s.Notice = Notice{Command: shellWords(line), Shell: true, Timeout: timeout} })
	}
	h, other := r.Dial(), r.Dial()
	notice(0, "read x <"+path)
	h.Send(identityFrame(1, ""))
	other.Send(identityFrame(2, ""))
	other.WantDone(2, unix.EBUSY)
	other.Send(framing.AppendRestore(nil, 3, 0, nil)) // is not held up, and counts
	if d := other.Done(3); d.Errno != 0 || d.Value != 2 {
		t.Errorf("restore meanwhile: errno %d, epoch %d, want 0 and 2", d.Errno, d.Value)
	}
	gate.WriteString("\n")
	wantParts(h, 1, 1, "command 0 0", "generation 0 2")

	notice(time.Millisecond, "read x <"+path)
	h.Send(identityFrame(4, ""))
	wantParts(h, 4, 3, fmt.Sprintf("command %d 124", unix.ETIMEDOUT), "generation 0 3")
	r.Do(func() {
		r.s.Notice = Notice{}
		r.s.Notice.Command.Add("/no/such")
	})
	h.Send(identityFrame(5, ""))
	wantParts(h, 5, 4, fmt.Sprintf("command %d 127", unix.ENOENT), "generation 0 4")

	// The host goes, and the rest is done.
	notice(0, "read x <"+path)
	h.Send(identityFrame(6, ""))
	other.Send(identityFrame(7, ""))
	other.WantDone(7, unix.EBUSY)
	h.Close()
	r.Lost(1)
	gate.WriteString("\n")
	r.Until("it is done", func() bool { return !r.s.clone.busy })
	roomtest.WantContent(t, r.s.Generation, "5\n")
}
