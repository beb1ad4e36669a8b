package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// critestEnv names a critest program, whose tests are then run. They take half an hour where
// machines are emulated. GOWORK=off go test -c sigs.k8s.io/cri-tools/cmd/critest makes one.
const critestEnv = "WICK_CRITEST"

// TestCritest runs the conformance tests of the CRI that README.md names.
func TestCritest(t *testing.T) {
	program := os.Getenv(critestEnv)
	if program == "" {
		t.Skip("the tests of the CRI take half an hour; give a critest as " + critestEnv)
	}
	c := newCluster(t)
	images := c.write(t, "images.yaml",
		"defaultTestContainerImage: "+c.registry+"/box:1\nwebServerTestImage: "+c.registry+"/web:1\n")
	endpoint := "unix://" + c.options.address
	focus, skip := os.Getenv(critestEnv+"_FOCUS"), os.Getenv(critestEnv+"_SKIP")
	cmd := c.inside(t.Context(), program, "-runtime-endpoint", endpoint, "-image-endpoint", endpoint, "-runtime-handler", "wick",
		"-test-images-file", images, "-ginkgo.focus", focus, "-ginkgo.skip", skip, "-ginkgo.no-color", "-ginkgo.v")
	out, err := cmd.Output()
	if exit, ok := err.(*exec.ExitError); ok || strings.Contains(string(out), "Ran 0 of") {
		t.Errorf("%v\n%s", exit, out)
	} else {
		t.Logf("%v\n%s", err, out)
	}
}
