//go:build linux

package sysinit_test

import (
	"fmt"

	"wick/sysinit"
)

// The required steps of a machine. Each step prints what it does.
func ExamplePlan() {
	for _, step := range sysinit.Plan(sysinit.Default()) {
		if step.Required {
			fmt.Println(step)
		}
	}
	// Output:
	// propagation: make / private, and all below
	// working mount: mount tmpfs on /, unseen from below
	// base: mount /dev/vda on rom (squashfs or erofs, ro)
	// overlay disk: mount /dev/vdb on rw (ext4, noatime); mkdir rw/upper 0755; mkdir rw/work 0700; pin rw
	// overlay: mount overlay (lowerdir=rom,upperdir=rw/upper,workdir=rw/work,redirect_dir=on,index=off,metacopy=off,xino=off,noatime)
	// root: drop the working mount, make the overlay /
	// /dev: mount devtmpfs on /dev (nosuid), or make the nodes
	// /proc: mount proc on /proc (nosuid,nodev,noexec)
}

// A kernel hands over words that it does not know, and those after "--" on its command line.
func ExampleParse() {
	cfg := sysinit.Default()
	level := "info"
	agent := []sysinit.Option{{Name: "--log-level", Value: "LEVEL", Set: func(value string) error {
		level = value
		return nil
	}}}
	ignored, err := sysinit.Parse([]string{"splash", "--overlay=tmpfs", "--log-level", "debug"}, cfg.Options(), agent)
	fmt.Println(cfg.Base, cfg.Overlay, level, ignored, err)

	_, err = sysinit.Parse([]string{"--wait=x"}, cfg.Options(), agent)
	fmt.Println(err)
	// Output:
	// /dev/vda tmpfs debug [splash] <nil>
	// --wait x: not a number of seconds from 0 to 3600
}
