// Package files does all that the agent does with files. It serves write_file, and the extension's
// read, write, stat, list and change.
//
// A [Target] is a file that a host names, and a [Staging] the temporary file that replaces it in
// one step. An [Entry] is a name in a directory that is held open. A [Disk] has files without a
// name, and defers what must not be done while the disk is frozen.
package files
