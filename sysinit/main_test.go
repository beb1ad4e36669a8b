//go:build linux

package sysinit

import (
	"testing"

	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
