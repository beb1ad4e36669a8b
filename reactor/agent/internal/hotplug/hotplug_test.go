package hotplug

import "testing"

// TestIsProcessor holds which events are about a processor that came.
func TestIsProcessor(t *testing.T) {
	t.Parallel()
	for event, want := range map[string]bool{
		"add@/devices/system/cpu/cpu1\x00ACTION=add\x00": true,
		"add@/devices/system/cpu/cpu12":                  true,
		"remove@/devices/system/cpu/cpu1\x00":            false,
		"online@/devices/system/cpu/cpu1\x00":            false,
		"add@/devices/system/cpu/cpufreq":                false,
		"add@/devices/system/cpu/cpu":                    false,
		"add@/devices/system/memory/memory1\x00":         false,
		"add@/devices/platform/vdc\x00":                  false,
		"":                                               false,
	} {
		if got := isProcessor(event); got != want {
			t.Errorf("isProcessor(%q) = %v, want %v", event, got, want)
		}
	}
}
