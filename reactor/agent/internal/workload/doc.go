// Package workload runs the programs that a machine is for: the services, of which the workload is
// one. It starts them by itself, in order, and again after an end, as their options say:
//
//	waiting ──▶ starting ──ready──▶ ready ──signal──▶ stopping
//	               └──────── end ─────┴──────────────────┘
//	                          ├──▶ backing-off ──0.1 s to 10 s──▶ starting
//	                          └──▶ ended or failed
//
// A service is a session of package session with the id [framing.ServiceID]. A host attaches to it
// as to any kept process, and gets its output and its end.
package workload
