//go:build amd64 || arm64

package reactor

// sparse reports whether fork uses neither the stack nor the heap in the child.
const sparse = true

// fork blocks all signals, makes b.call, and lets the child make the steps from b.first on. It returns the child's pid or a negated
// errno. It waits for nothing that the child does.
//
//go:noescape
func fork(b *forkBlock) int
