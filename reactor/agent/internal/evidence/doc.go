// Package evidence serves what tells afterwards, or from a distance, what has happened in a
// machine: the kernel's log as a channel, and the file of last words.
//
//	kernel_log ─▶ /dev/kmsg ─▶ output …
//	the machine's end ─▶ LastJob ─▶ the file ─▶ ReadLast of the next boot ─▶ facts
package evidence
