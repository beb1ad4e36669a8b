// Package leaktest makes a package's tests fail if they leave a goroutine or an open descriptor
// behind.
//
// It is for TestMain alone:
//
//	func TestMain(m *testing.M) { leaktest.Main(m) }
package leaktest

import (
	"fmt"
	"os"
	"sort"
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests, calls the functions in after, and exits. The exit code is that of the tests,
// or 99 if they passed and leaked.
func Main(m *testing.M, after ...func()) {
	before := descriptors()
	code := m.Run()
	for _, f := range after {
		f()
	}
	if code == 0 {
		code = leaks(before)
	}
	os.Exit(code)
}

func leaks(before map[string]string) int {
	code := 0
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 99
	}
	after := descriptors()
	numbers := make([]string, 0, len(after))
	for n := range after {
		numbers = append(numbers, n)
	}
	sort.Strings(numbers)
	for _, n := range numbers {
		if was, ok := before[n]; !ok || was != after[n] {
			fmt.Fprintf(os.Stderr, "leaked descriptor %s: %s\n", n, after[n])
			code = 99
		}
	}
	return code
}

// descriptors maps the numbers of the open descriptors to their targets. It includes the Go
// runtime's poller, which stays open.
func descriptors() map[string]string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	open := map[string]string{}
	for _, e := range entries {
		// The descriptor that ReadDir itself used is closed by now and does not resolve.
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			open[e.Name()] = target
		}
	}
	return open
}

// init makes the runtime open its poller before the first count, so that it is no leak in the
// second.
func init() {
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	r.Close()
	w.Close()
}
