// Package output prints the results of commands. A list is a table, or as its flags say: lines of
// JSON, lines of a Go template, or names alone. Text of a guest is made printable, because it may
// hold control sequences for the terminal.
package output
