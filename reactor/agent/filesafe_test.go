package agent

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/sys"
)

// TestSafeRace has another process, as it were, put a symbolic link in the place of a directory, and of a file, again and again, while everything is
// done safely below and to it. What the links lead to is never touched.
func TestSafeRace(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	in, out := t.TempDir(), t.TempDir()
	join := filepath.Join
	must := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	secret := join(out, "file")
	mustWrite(t, secret, "secret")
	must(os.Mkdir(join(out, "empty"), 0o700), os.Mkdir(join(in, "dir"), 0o700), os.Symlink(out, join(in, "dir.link")),
		os.Mkdir(join(in, "dir", "empty"), 0o700), os.Symlink(secret, join(in, "file.link")))
	mustWrite(t, join(in, "file"), "mine")
	mustWrite(t, join(in, "dir", "file"), "mine")
	var before, after unix.Stat_t
	must(unix.Stat(secret, &before))

	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for ; ; n++ {
			for _, name := range []string{"dir", "file"} {
				unix.Renameat2(unix.AT_FDCWD, join(in, name), unix.AT_FDCWD, join(in, name+".link"), unix.RENAME_EXCHANGE)
			}
			select {
			case <-stop:
				stopped <- n
				return
			default:
			}
		}
	}()

	h := b.dialExtended()
	const safe = framing.FileSafe
	dir, file := join(in, "dir"), join(in, "file")
	outcomes := map[unix.Errno]int{}
	settle := func(seq uint32) {
		t.Helper()
		outcomes[unix.Errno(h.done(seq).Errno)]++
	}
	write := func(seq uint32, flags framing.WriteFlags, path string) {
		t.Helper()
		h.send(writeFrame(seq, framing.WriteSafe|framing.WriteMode|flags, path))
		typ, _, payload := h.read()
		if typ == framing.TypeDone {
			d, _ := framing.ParseDone(payload)
			outcomes[unix.Errno(d.Errno)]++
			return
		}
		h.send(inputFrame(seq, []byte("evil")))
		h.send(closeFrame(seq, framing.StreamInput))
		settle(seq)
	}
	for range 100 {
		h.SetDeadline(time.Now().Add(patience))
		write(1, 0, dir+"/file")
		write(2, framing.WriteInPlace, dir+"/file")
		write(3, framing.WriteExclusive, dir+"/new")
		write(4, framing.WriteParents, dir+"/a/b")
		write(5, 0, file)
		write(6, framing.WriteInPlace, file)
		for i, c := range []struct {
			op          framing.ChangeOp
			flags       framing.FileFlags
			path, other string
		}{
			{framing.ChangeMkdir, 0, dir + "/made", ""},
			{framing.ChangeMkdir, framing.FileParents, dir + "/a/c/d", ""},
			{framing.ChangeRemove, 0, dir + "/empty", ""},
			{framing.ChangeRemove, 0, dir + "/new", ""},
			{framing.ChangeRename, 0, dir + "/file", dir + "/renamed"},
			{framing.ChangeRename, 0, dir + "/renamed", dir + "/file"},
			{framing.ChangeSymlink, 0, dir + "/link", "x"},
			{framing.ChangeLink, 0, dir + "/linked", dir + "/file"},
			{framing.ChangeLink, 0, in + "/linked", dir + "/file"},
			{framing.ChangeMode, 0, file, ""},
			{framing.ChangeMode, 0, dir + "/file", ""},
			{framing.ChangeOwner, 0, file, ""},
			{framing.ChangeOwner, framing.FileNoFollow, dir + "/file", ""},
			{framing.ChangeTime, 0, file, ""},
			{framing.ChangeTime, framing.FileNoFollow, dir + "/file", ""},
		} {
			seq := uint32(10 + i)
			h.send(changeFrame(seq, c.op, safe|c.flags, c.path, c.other))
			settle(seq)
		}
		h.send(framing.AppendRead(nil, 50, &framing.Read{Flags: safe, Credit: 100, Path: []byte(file)}))
		if typ, _, payload := h.read(); typ == framing.TypeOutput {
			if string(payload[1:]) == "secret" {
				t.Fatal("the secret was read")
			}
			settle(50)
		}
	}
	close(stop)
	if n := <-stopped; outcomes[0] == 0 || outcomes[unix.ELOOP] == 0 || n < 10 {
		t.Errorf("no race: %d exchanges, %v", n, outcomes)
	}
	must(unix.Stat(secret, &after))
	wantContent(t, secret, "secret")
	if before != after {
		t.Errorf("%+v, was %+v", after, before)
	}
	entries, err := os.ReadDir(out)
	if must(err); len(entries) != 2 {
		t.Errorf("outside there is %v", entries)
	}
	b.empty(in)
	b.empty(out)
	b.empty(join(in, "dir"))
	b.empty(join(in, "dir.link"))
}

// TestListRace has what a directory's names stand for exchanged while it is listed, a link for a file and back. All of them are in every list, and what is
// said to be a link has a target.
func TestListRace(t *testing.T) {
	t.Parallel()
	b := startBox(t)
	dir := t.TempDir()
	join := filepath.Join
	const pairs = 10
	for i := range pairs {
		mustWrite(t, join(dir, "file"+sys.Num(i)), "")
		if err := os.Symlink("target", join(dir, "link"+sys.Num(i))); err != nil {
			t.Fatal(err)
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i = (i + 1) % pairs {
			unix.Renameat2(unix.AT_FDCWD, join(dir, "file"+sys.Num(i)), unix.AT_FDCWD, join(dir, "link"+sys.Num(i)), unix.RENAME_EXCHANGE)
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	h := b.dialExtended()
	for range 1000 {
		h.send(listFrame(1, plenty, dir))
		_, content, err := framing.ParseOutput(h.want(framing.TypeOutput, 1))
		for err == nil && len(content) > 0 {
			var i framing.FileInfo
			if i, content, err = framing.CutFileInfo(content); err == nil && (i.Mode&unix.S_IFMT == unix.S_IFLNK) != (len(i.Target) > 0) {
				t.Fatalf("%s: mode %o, target %q", i.Name, i.Mode, i.Target)
			}
		}
		if d := h.done(1); err != nil || d.Errno != 0 || d.Value != 2*pairs {
			t.Fatalf("%v: %d entries, errno %d: %s", err, d.Value, d.Errno, d.Reason)
		}
	}
	close(stop)
	<-stopped
}
