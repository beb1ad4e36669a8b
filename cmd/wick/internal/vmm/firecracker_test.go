package vmm

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ours are kernel parameters that only wick run sets, for short runs with a user. theirs are those
// that only the example sets.
var (
	ours   = []string{"panic=-1", "random.trust_cpu=on", "quiet"}
	theirs = []string{"panic=1"}
)

// TestFirecrackerPage compares the page about Firecracker, its example and the configuration of
// wick run. They must agree in kernel parameters and fields.
func TestFirecrackerPage(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile("../../../vm-init/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var example, made fcConfig
	in := json.NewDecoder(strings.NewReader(read("firecracker.json")))
	in.DisallowUnknownFields()
	if err := in.Decode(&example); err != nil {
		t.Fatalf("firecracker.json: %v", err)
	}
	b, err := FirecrackerConfig(&Spec{
		Arch: "amd64", Kernel: "vmlinux", Init: "/sbin/vm-init",
		Drives: []Drive{{Path: "root.squashfs", ReadOnly: true}, {Path: "overlay.ext4"}},
	}, "v.sock")
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(b)).Decode(&made)
	}
	if err != nil {
		t.Fatal(err)
	}

	inExample := strings.Fields(example.BootSource.BootArgs)
	inMade := strings.Fields(made.BootSource.BootArgs)
	for _, word := range inExample {
		if !slices.Contains(inMade, word) && !slices.Contains(theirs, word) {
			t.Errorf("firecracker.json has %q on the kernel's command line, and wick run has not", word)
		}
	}
	for _, word := range inMade {
		if !slices.Contains(inExample, word) && !slices.Contains(ours, word) {
			t.Errorf("wick run has %q on the kernel's command line, and firecracker.json has not", word)
		}
	}
	explained := map[string]bool{}
	rows := regexp.MustCompile("(?m)^\\| `([^`]+)`[^|]*\\|")
	for _, row := range rows.FindAllStringSubmatch(read("firecracker.md"), -1) {
		for _, word := range strings.Fields(row[1]) {
			explained[word] = true
		}
	}
	for _, word := range inExample {
		if !explained[word] {
			t.Errorf("the page's table does not explain %q, which is in firecracker.json", word)
		}
	}
	// An ACPI kernel loses Ctrl-Alt-Del with the first. With the second and --enable-pci it finds
	// no device.
	for _, word := range []string{"i8042.nopnp", "pci=off"} {
		if slices.Contains(inExample, word) || slices.Contains(inMade, word) {
			t.Errorf("%q is on the kernel's command line", word)
		}
	}

	example.BootSource.BootArgs, made.BootSource.BootArgs = "", ""
	for i := range example.Drives {
		example.Drives[i].DriveID = made.Drives[min(i, len(made.Drives)-1)].DriveID
	}
	want, _ := json.Marshal(made)
	if got, _ := json.Marshal(example); string(got) != string(want) {
		t.Errorf("firecracker.json, without command line and drives' names:\n%s\nwick run makes\n%s", got, want)
	}
}
