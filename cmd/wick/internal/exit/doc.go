// Package exit says how wick ends: with which exit code, and with which error. An [Error] has both.
// A command of wick returns one where the usual code is wrong. [How] finds the code of any other
// error. It depends on whether the command line was valid, and on whether the guest was reached.
package exit
