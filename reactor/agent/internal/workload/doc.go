// Package workload runs the program that a machine is for. It starts the program by itself, and
// starts it again after an end, as its options say:
//
//	waiting ──hello──▶ running ──end──▶ backing-off ──0.1 s to 10 s──▶ running
//	                      └──end, no restart──▶ ended
//
// The program is a session of package session with the id [framing.WorkloadID]. A host attaches to
// it as to any kept process, and gets its output and its end.
package workload
