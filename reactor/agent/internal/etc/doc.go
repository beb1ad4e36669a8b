// Package etc reads and replaces the small files that say who a machine is: those of /etc. A file
// is replaced in one step, so that no program sees a part of one.
package etc
