// Package copying copies files and directories between this machine and a guest. A [Copier] keeps
// modes, times, links, holes and attributes, and if asked to, owners. It copies a file by the
// requests for files, and a directory as a tar. A [Bar] shows the progress on a terminal.
package copying
