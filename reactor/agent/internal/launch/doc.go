// Package launch prepares what a process is started with: the account that it runs as ([FindAccount]),
// its environment and where its program is looked up ([Env]), and its terminal.
//
// It knows nothing of hosts and of what becomes of the process. It imports packages framing and
// reactor, and the room sys.
package launch
