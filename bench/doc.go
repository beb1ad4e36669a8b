// Package bench measures the agent against two others that run in the same invocation and are asked by the same
// client: floor, in C, with one thread, epoll and vfork, which checks nothing and loses what it can; and naive, what a Go
// programmer would write with net and os/exec. What counts is the ratio: the machine's own speed is in all three.
//
//	go test -bench . ./bench
//
// The floor needs a C compiler. Nothing imports this package.
package bench
