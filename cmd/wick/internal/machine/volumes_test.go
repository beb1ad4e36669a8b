package machine

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wick/cmd/wick/internal/vmm"
)

type notices []string

func (n *notices) Event(e Event) {
	if e.Stage == Notice {
		*n = append(*n, e.Detail)
	}
}

// TestVolumesCopied has Firecracker get a copy of a directory, because it shares none.
func TestVolumesCopied(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("of the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := Options{Volumes: []Volume{
		{Target: "/a", Dir: dir, ReadOnly: true}, {Target: "/b", Disk: "/x/data.ext4"}, {Target: "/c", Options: "size=1m"},
	}}
	config := Config{Choice: vmm.Choice{Backend: vmm.Firecracker}, Spec: vmm.Spec{Drives: make([]vmm.Drive, 2), InitArgs: []string{"--last"}}}
	work := &workDir{path: t.TempDir()}
	var said notices
	if err := o.volumes(t.Context(), work, &config, &said); err != nil {
		t.Fatal(err)
	}
	want := []string{"--mount=/dev/vdc:/a:ext4:required,ro", "--mount=/dev/vdd:/b:ext4:required,grow", "--mount=tmpfs:/c:tmpfs:required,size=1m", "--last"}
	if !slices.Equal(config.Spec.InitArgs, want) {
		t.Errorf("the words are %q, want %q", config.Spec.InitArgs, want)
	}
	if d := config.Spec.Drives[2:]; len(d) != 2 || d[0].Path != work.file("v0.ext4") || !d[0].ReadOnly || d[1].Path != "/x/data.ext4" || !d[1].Durable {
		t.Errorf("the drives are %+v", d)
	}
	if len(said) != 1 || said[0] != "Firecracker shares no directory: the guest gets a copy of "+dir {
		t.Errorf("it says %q", said)
	}
	if debugfs, err := exec.LookPath("debugfs"); err == nil {
		if out, err := exec.Command(debugfs, "-R", "cat /file", work.file("v0.ext4")).Output(); string(out) != "of the host" {
			t.Errorf("the copy holds %q, %v", out, err)
		}
	}
}

// TestVolumesChecked refuses before a boot a directory that is missing.
func TestVolumesChecked(t *testing.T) {
	t.Parallel()
	for dir, want := range map[string]string{"/none": "no such file", "/dev/null": "not a directory"} {
		o := Options{Volumes: []Volume{{Target: "/a", Dir: dir}}}
		if err := o.checkVolumes(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("checkVolumes with %s = %v, want %q", dir, err, want)
		}
	}
}

// TestFileServerEnds kills a machine whose virtiofsd has ended, and says so.
func TestFileServerEnds(t *testing.T) {
	t.Parallel()
	said := make(chan string, 1)
	m, err := Start(testContext(t), Config{
		Choice: fake(t, "exec sleep 60"), Dir: socketDir(t), Notice: func(text string) { said <- text },
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := start(exec.Command("false"), "")
	if err != nil {
		t.Fatal(err)
	}
	m.needFileServer(p)
	exit, err := m.Wait(testContext(t))
	if err != nil || !exit.Killed {
		t.Errorf("the machine: %v, %v; want it killed", exit, err)
	}
	if got, want := <-said, "virtiofsd has ended (exit status 1); killed the machine"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}
