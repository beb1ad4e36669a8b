package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// critestEnv names a critest program, whose tests are then run. They take half an hour where
// machines are emulated. The same name with _FOCUS and _SKIP has regular expressions for the tests'
// names. GOWORK=off go test -c sigs.k8s.io/cri-tools/cmd/critest makes one.
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
	args := []string{
		program, "-runtime-endpoint", endpoint, "-image-endpoint", endpoint, "-runtime-handler", "wick",
		"-test-images-file", images, "-ginkgo.no-color", "-ginkgo.v", "-ginkgo.focus", os.Getenv(critestEnv + "_FOCUS"),
	}
	if skip := os.Getenv(critestEnv + "_SKIP"); skip != "" {
		args = append(args, "-ginkgo.skip", skip)
	}
	cmd := c.inside(t.Context(), args...)
	out, err := cmd.Output()
	if exit, ok := err.(*exec.ExitError); ok || strings.Contains(string(out), "Ran 0 of") {
		t.Errorf("%v\n%s", exit, out)
	} else {
		t.Logf("%v\n%s", err, out)
	}
}
