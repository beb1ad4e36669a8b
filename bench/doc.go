// Package bench measures the agent against two others, which run in the same invocation with the
// same client. floor is in C, with one thread, epoll and vfork. It checks nothing and drops what it
// can. naive is what a Go programmer would write with net and os/exec. The ratios count, because
// the machine's own speed is in all three.
//
//	go test -bench . ./bench
//
// scripts/bench does that in rounds and makes the README's table of them (command table). The floor
// needs a C compiler. In the rows of containerd, which cmd/containerd-shim-wick-v1 measures, the
// floor is runc. Figures that are not speeds also have a budget, which tests hold: see package
// budget. Only tests import these packages, and only the budget.
package bench
