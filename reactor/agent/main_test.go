package agent

import (
	"testing"

	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) {
	RunJob()
	leaktest.Main(m)
}
