package framing

import "testing"

// TestNumbers compares the constants with the numbers in extension.md.
func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		got   []uint64
		first uint64
		bits  bool
	}{
		{"streams", list(StreamInput, StreamOutput, StreamErrors), 0, false},
		{"features", list(FeatureProcesses, FeatureTerminals, FeatureFiles, FeatureStats, FeaturePressure, FeatureRestore, FeatureFreeze, FeaturePower), 0, true},
		{"reasons", list(ReasonExited, ReasonSignalled, ReasonTimedOut, ReasonCancelled, ReasonOutOfMemory, ReasonNotStarted), 0, false},
		{"stages", list(StageResources, StageTerminal, StageUser, StageDirectory, StageLimits, StageFork, StageExec, StageNamespace, StageMount, StageRoot, StageCapabilities, StageSeccomp), 1, false},
		{"scopes", list(ScopeGroup, ScopeProcess, ScopeTree), 0, false},
		{"kinds", list(KindStart, KindExec, KindSpawnWatch), 0, false},
		{"flags of files", list(FileSafe, FileNoFollow, FileParents, FileNoReplace), 0, true},
		{"flags of write", list(WriteSafe, WriteInPlace, WriteExclusive, WriteSync, WriteMode, WriteOwner, WriteParents, WriteAppend, WriteTruncate), 0, true},
		{"changes", list(ChangeMkdir, ChangeRemove, ChangeRename, ChangeSymlink, ChangeLink, ChangeMode, ChangeOwner, ChangeTime), 1, false},
		{"resources", list(PressureMemory, PressureCPU, PressureIO), 0, false},
		{"ways", list(PowerRestart, PowerOff, PowerHalt), 0, false},
		{"version", list(uint16(Version)), 1, false},
		{"for ever", list(uint32(KeepForEver)), 0xFFFFFFFF, false},
	} {
		for i, got := range test.got {
			want := test.first + uint64(i)
			if test.bits {
				want = 1 << want
			}
			if got != want {
				t.Errorf("%s: number %d is %d, want %d", test.name, i, got, want)
			}
		}
	}
}

func list[T ~uint8 | ~uint16 | ~uint32](values ...T) (wide []uint64) {
	for _, v := range values {
		wide = append(wide, uint64(v))
	}
	return wide
}
