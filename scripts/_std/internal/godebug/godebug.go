// Package godebug replaces the standard library's internal/godebug in the guest's programs. Package
// time asks it for one setting, which is about channels of timers, and the programs have none. The
// real one links 100 kB for that: the settings by name, their use as metrics, and sync.Map.
//
// Every setting has its default. The runtime reads its own settings in $GODEBUG without this
// package.
package godebug

// Setting is a setting of $GODEBUG.
type Setting struct{}

// New returns the setting of that name.
func New(string) *Setting { return &Setting{} }

// Value returns the setting's value, which is empty for the default.
func (*Setting) Value() string { return "" }

// IncNonDefault counts a use of a value that is not the default.
func (*Setting) IncNonDefault() {}
