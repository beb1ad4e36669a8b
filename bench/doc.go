// Package bench measures the agent against two others that run in the same invocation and are asked by the same
// client: floor, in C, with one thread, epoll and vfork, which checks nothing and loses what it can; and naive, what a Go
// programmer would write with net and os/exec. What counts is the ratio: the machine's own speed is in all three.
//
//	go test -bench . ./bench
//
// scripts/bench does that in rounds and makes the README's table of them (command table). The floor needs a C compiler. What has no speed is
// also held to a budget, by tests: see package budget. Nothing imports these packages, but tests the budget.
package bench
