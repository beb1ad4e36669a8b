package agent

import (
	"testing"

	"wick/reactor/agent/internal/files"
	"wick/reactor/agent/internal/launch"
	"wick/reactor/agent/internal/machine"
	"wick/reactor/leaktest"
)

func TestMain(m *testing.M) {
	launch.RunJob(machine.SyncJob, machine.FreezeJob, files.SyncJob)
	leaktest.Main(m)
}
