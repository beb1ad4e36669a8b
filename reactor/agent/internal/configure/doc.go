// Package configure sets options and secrets that a host sends.
//
//	configure ─┬─ text ────▶ Apply: the options of the program that has the agent
//	           └─ secrets ─┬▶ entries: the environment of later commands
//	                       └▶ files: /run/secrets
//
// The value of a secret is nowhere else: the payload is cleared once it was handled. An entry has
// memory of its own, which is not swapped, not dumped and not copied to children. A file is on a
// tmpfs of its own. Forget clears both.
package configure
