// Package files has the ways in which the agent touches files on its own account. A [Target] is the
// file that a host names, and a [Staging] the temporary file that becomes it in one step. An [Entry]
// is a name in a directory that is held open. A [Disk] has files without a name, and puts off what
// must not be done while the disk is frozen.
//
// It knows nothing of connections. It imports package framing for the longest path, and the room sys.
package files
