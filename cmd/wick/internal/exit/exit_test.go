package exit

import "testing"

func TestOfCommand(t *testing.T) {
	for code, want := range map[int]int{0: 0, 1: 1, 255: 255, 256: 255, -1: 255} {
		got := Error{}
		if err := OfCommand(code); err != nil {
			got = *How(err, true)
		}
		if got.Code != want || got.Err != nil {
			t.Errorf("%d: got %d, error %v", code, got.Code, got.Err)
		}
	}
}
