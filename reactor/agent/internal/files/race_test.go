package files

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"wick/framing"
	"wick/reactor/agent/internal/roomtest"
	"wick/reactor/agent/internal/sys"
)

// exchange exchanges the files of each pair, again and again, until stop, which returns how
// often.
func exchange(pairs ...[2]string) (stop func() int) {
	end, n := make(chan struct{}), make(chan int)
	go func() {
		for i := 0; ; i++ {
			p := pairs[i%len(pairs)]
			unix.Renameat2(unix.AT_FDCWD, p[0], unix.AT_FDCWD, p[1], unix.RENAME_EXCHANGE)
			select {
			case <-end:
				n <- i
				return
			default:
			}
		}
	}()
	return func() int { close(end); return <-n }
}

// TestSafeRace exchanges a directory and a file for symbolic links again and again, while all
// operations are done safely below and to them. No operation touches the targets of the links.
func TestSafeRace(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
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
	roomtest.WriteFile(t, secret, "secret")
	must(os.Mkdir(join(out, "empty"), 0o700), os.Mkdir(join(in, "dir"), 0o700), os.Symlink(out, join(in, "dir.link")),
		os.Mkdir(join(in, "dir", "empty"), 0o700), os.Symlink(secret, join(in, "file.link")))
	roomtest.WriteFile(t, join(in, "file"), "mine")
	roomtest.WriteFile(t, join(in, "dir", "file"), "mine")
	var before, after unix.Stat_t
	must(unix.Stat(secret, &before))

	stop := exchange([2]string{join(in, "dir"), join(in, "dir.link")}, [2]string{join(in, "file"), join(in, "file.link")})
	h := r.Dial()
	const safe = framing.FileSafe
	dir, file := join(in, "dir"), join(in, "file")
	outcomes := map[unix.Errno]int{}
	settle := func(seq uint32) {
		t.Helper()
		outcomes[unix.Errno(h.Done(seq).Errno)]++
	}
	write := func(seq uint32, flags framing.WriteFlags, path string) {
		t.Helper()
		h.Send(roomtest.Write(seq, framing.WriteSafe|framing.WriteMode|flags, path))
		typ, _, payload := h.Next()
		if typ == framing.TypeDone {
			d, _ := framing.ParseDone(payload)
			outcomes[unix.Errno(d.Errno)]++
			return
		}
		h.Send(roomtest.Input(seq, []byte("evil")))
		h.Send(roomtest.Close(seq, framing.StreamInput))
		settle(seq)
	}
	for range 25 {
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
			h.Send(roomtest.Change(seq, c.op, safe|c.flags, c.path, c.other))
			settle(seq)
		}
		h.Send(framing.AppendRead(nil, 50, &framing.Read{Flags: safe, Credit: 100, Path: []byte(file)}))
		if typ, _, payload := h.Next(); typ == framing.TypeOutput {
			if string(payload[1:]) == "secret" {
				t.Fatal("the secret was read")
			}
			settle(50)
		}
	}
	if n := stop(); outcomes[0] == 0 || outcomes[unix.ELOOP] == 0 || n < 10 {
		t.Errorf("no race: %d exchanges, %v", n, outcomes)
	}
	must(unix.Stat(secret, &after))
	roomtest.WantContent(t, secret, "secret")
	if before != after {
		t.Errorf("the secret is %+v, was %+v", after, before)
	}
	entries, err := os.ReadDir(out)
	if must(err); len(entries) != 2 {
		t.Errorf("outside there is %v, want the two from before", entries)
	}
	roomtest.WantClean(t, in)
	roomtest.WantClean(t, out)
	roomtest.WantClean(t, join(in, "dir"))
	roomtest.WantClean(t, join(in, "dir.link"))
}

// TestListRace exchanges links and files while their directory is listed. Every list has all
// names, and what it says to be a link has a target.
func TestListRace(t *testing.T) {
	t.Parallel()
	r := newRoom(t, nil)
	dir := t.TempDir()
	var pairs [][2]string
	for i := range 10 {
		file, link := filepath.Join(dir, "file"+sys.Num(i)), filepath.Join(dir, "link"+sys.Num(i))
		roomtest.WriteFile(t, file, "")
		if err := os.Symlink("target", link); err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, [2]string{file, link})
	}
	stop := exchange(pairs...)
	h := r.Dial()
	for range 200 {
		h.Send(roomtest.List(1, 1<<30, dir))
		_, content, err := framing.ParseOutput(h.Want(framing.TypeOutput, 1))
		for err == nil && len(content) > 0 {
			var i framing.FileInfo
			i, content, err = framing.CutFileInfo(content)
			if err == nil && (i.Mode&unix.S_IFMT == unix.S_IFLNK) != (len(i.Target) > 0) {
				t.Fatalf("%s: mode %o, target %q", i.Name, i.Mode, i.Target)
			}
		}
		if d := h.Done(1); err != nil || d.Errno != 0 || d.Value != uint64(2*len(pairs)) {
			t.Fatalf("%v: %d entries, errno %d: %s", err, d.Value, d.Errno, d.Reason)
		}
	}
	stop()
}
