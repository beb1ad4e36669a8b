package kernel

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"wick/cmd/wick/internal/cache"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m, cache.Release) }

// object returns an ELF that has only a section .modinfo.
func object(t *testing.T, info string) []byte {
	t.Helper()
	names := "\x00.modinfo\x00.shstrtab\x00"
	head := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: 64, Shentsize: 64, Shnum: 3, Shstrndx: 2,
	}
	head.Shoff = 64 + uint64(len(info)+len(names))
	var b bytes.Buffer
	put := func(v any) {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	put(&head)
	b.WriteString(info + names)
	put(&elf.Section64{})
	put(&elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: 64, Size: uint64(len(info))})
	put(&elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: 64 + uint64(len(info)), Size: uint64(len(names))})
	return b.Bytes()
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// modules writes a directory of modules with their dependencies.
func modules(t *testing.T, depends map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir+"/modules.builtin", []byte("kernel/fs/ext4/ext4.ko\nkernel/lib/crc-16.ko\n"))
	for name, list := range depends {
		write(t, dir+"/kernel/drivers/"+name+".ko", object(t, "license=GPL\x00depends="+list+"\x00name=x\x00"))
	}
	return dir
}

func TestOrder(t *testing.T) {
	dir := modules(t, map[string]string{
		"virtio_ring": "", "virtio": "virtio_ring", "virtio_mmio": "virtio,virtio_ring", "virtio-rng": "virtio,crc16", "fs": "crc-16,ext4",
		"broken": "nowhere",
		// A module that the softdep names may not exist, and the name may be that of an algorithm.
		"lib": "virtio\x00softdep=pre: crc32c gone virtio_mmio post: broken", "crc32c_generic": "",
	})
	for _, tt := range []struct{ in, want string }{
		{"virtio_mmio", "virtio_ring virtio virtio_mmio"},
		{"virtio virtio_mmio virtio", "virtio_ring virtio virtio_mmio"},
		{"fs", "fs"}, {"lib", "virtio_ring virtio crc32c_generic virtio_mmio lib"}, {"ext4", ""}, {"", ""},
	} {
		got, err := order(dir, strings.Fields(tt.in)...)
		if err != nil {
			t.Errorf("order(%s): %v", tt.in, err)
		}
		for i := range got {
			got[i] = module(got[i])
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("order(%s) = %v, want %s", tt.in, got, tt.want)
		}
	}
	for in, want := range map[string]string{
		"broken": "find the kernel module nowhere (for broken): not in " + dir, "virtio_rng": "find the kernel module crc16 (for virtio_rng): not in " + dir,
		"gone": "find the kernel module gone: not in " + dir,
	} {
		_, err := order(dir, in)
		if _, ok := errors.AsType[*ModuleError](err); !ok || err.Error() != want {
			t.Errorf("order(%s): error %v, want %s", in, err, want)
		}
	}
}

// bzImage packs an image as the kernel's build does.
func bzImage(packed []byte, size int) []byte {
	const setup, offset = 2, 300
	b := make([]byte, (setup+1)*512+offset)
	b[0x1f1] = setup
	copy(b[0x202:], "HdrS\x0f\x02")
	payload := binary.LittleEndian.AppendUint32(packed, uint32(size))
	binary.LittleEndian.PutUint32(b[0x248:], offset)
	binary.LittleEndian.PutUint32(b[0x24c:], uint32(len(payload)))
	return append(append(b, payload...), "more"...)
}

func TestUnpack(t *testing.T) {
	vmlinux := append(object(t, "kernel"), bytes.Repeat([]byte("text"), 50_000)...)
	var zipped, lz bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(vmlinux)
	z.Close()
	l := lz4.NewWriter(&lz)
	if err := l.Apply(lz4.LegacyOption(true)); err != nil {
		t.Fatal(err)
	}
	l.Write(vmlinux)
	l.Close()
	zs, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	zst := zs.EncodeAll(vmlinux, nil)
	for name, packed := range map[string][]byte{"gzip": zipped.Bytes(), "lz4": lz.Bytes(), "zstd": zst} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bzImage")
			write(t, path, bzImage(packed, len(vmlinux)))
			k, err := Given(t.Context(), cache.Dir(t.TempDir()), "amd64", path)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(k.Image); err != nil || !bytes.Equal(got, vmlinux) {
				t.Errorf("unpacked %d bytes, %v, want %d", len(got), err, len(vmlinux))
			}
			if k.Modules != "" {
				t.Errorf("it has modules in %s", k.Modules)
			}
		})
	}
}

func TestNotUnpacked(t *testing.T) {
	elfFile := filepath.Join(t.TempDir(), "vmlinux")
	write(t, elfFile, object(t, ""))
	odd := filepath.Join(t.TempDir(), "bzImage")
	write(t, odd, bzImage([]byte("packed by something else"), 9))
	cut := filepath.Join(t.TempDir(), "cut")
	write(t, cut, bzImage([]byte("\x1f\x8b and then nothing"), 9)[:1000])
	for _, path := range []string{elfFile, odd, cut} {
		store := cache.Dir(t.TempDir())
		if k, err := Given(t.Context(), store, "amd64", path); err != nil || k.Image != path {
			t.Errorf("%s: %v, %v, want it as it is", path, k, err)
		}
	}
	text, image := filepath.Join(t.TempDir(), "text"), filepath.Join(t.TempDir(), "Image")
	write(t, text, []byte("hello"))
	write(t, image, append(append([]byte("MZ"), make([]byte, 0x36)...), "ARM\x64"...))
	if k, err := Given(t.Context(), cache.Dir(t.TempDir()), "arm64", image); err != nil || k.Image != image {
		t.Errorf("an Image for arm64: %v, %v, want it as it is", k, err)
	}
	for path, want := range map[string]string{
		text: "neither a vmlinux", image: "it is one for arm64, and the machine is an amd64",
	} {
		_, err := Given(t.Context(), cache.Dir(t.TempDir()), "amd64", path)
		if _, ok := errors.AsType[*UnsupportedError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want an UnsupportedError with %q", err, want)
		}
	}
	if _, err := Given(t.Context(), cache.Dir(t.TempDir()), "amd64", "/nonexistent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want that it does not exist", err)
	}
}

// entry is a file read from an archive.
type entry struct {
	name    string
	mode    uint64
	content string
}

func readCpio(t *testing.T, b []byte) (entries []entry) {
	t.Helper()
	for pos := 0; ; {
		if pos%4 != 0 || string(b[pos:pos+6]) != "070701" {
			t.Fatalf("no header at %d", pos)
		}
		field := func(i int) (n int) {
			for _, c := range b[pos+6+8*i : pos+14+8*i] {
				n = n<<4 | strings.IndexByte("0123456789ABCDEF", c)
			}
			return n
		}
		size, nameLen := field(6), field(11)
		name := string(b[pos+110 : pos+110+nameLen-1])
		start := (pos + 110 + nameLen + 3) &^ 3
		if name == "TRAILER!!!" {
			return entries
		}
		entries = append(entries, entry{name, uint64(field(1)), string(b[start : start+size])})
		pos = (start + size + 3) &^ 3
	}
}

func TestInitramfs(t *testing.T) {
	needed := map[string]string{}
	for _, name := range needed {
		needed[name] = ""
	}
	needed["virtio_blk"], needed["virtio"] = "virtio", ""
	k := &Kernel{Arch: runtime.GOARCH, Modules: modules(t, needed)}
	store := cache.Dir(t.TempDir())
	what := Initramfs{Init: "/sbin/vm-init", Stay: true, Files: map[string][]byte{"/sbin/vm-init": []byte("file")}}
	path, err := k.Initramfs(t.Context(), store, what)
	if err != nil {
		t.Skip(err) // no busybox
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	entries := readCpio(t, b)
	find := func(name string) entry {
		i := slices.IndexFunc(entries, func(e entry) bool { return e.name == name })
		if i < 0 {
			t.Fatalf("no %s in the archive", name)
		}
		return entries[i]
	}
	if e := find("dev/console"); e.mode != 0o020600 {
		t.Errorf("console has mode %o", e.mode)
	}
	if e := find("sbin/vm-init"); e.mode != 0o100755 || e.content != "file" {
		t.Errorf("file %+v", e)
	}
	init := find("init")
	for _, want := range []string{"#!/busybox sh\n", "\nmodules='virtio_mmio.ko virtio.ko virtio_blk.ko ", "\ninit='/sbin/vm-init'\n", "\nstay=1\n"} {
		if !strings.Contains(init.content, want) || init.mode != 0o100755 {
			t.Errorf("the script lacks %q", want)
		}
	}
	for _, name := range []string{"dev", "modules", "sbin"} {
		if e := find(name); e.mode != 0o040755 {
			t.Errorf("%s has mode %o", name, e.mode)
		}
	}
	if again, err := k.Initramfs(t.Context(), store, what); err != nil || again != path {
		t.Errorf("the second time it is %s, %v", again, err)
	}
	what.Stay = false
	if other, err := k.Initramfs(t.Context(), store, what); err != nil || other == path {
		t.Errorf("another one is %s, %v", other, err)
	}
}
