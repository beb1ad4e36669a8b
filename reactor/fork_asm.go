//go:build amd64 || arm64

package reactor

// sparse reports whether fork uses neither the stack nor the heap in the child.
const sparse = true

// fork blocks all signals, makes b.call, and has the child make the steps from b.first on. It
// returns the child's pid, or a negated errno. It does not wait for the child.
//
//go:noescape
func fork(b *forkBlock) int
