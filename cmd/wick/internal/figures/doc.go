// Package figures prints the figures of a guest: as a table, as JSON, and in the text format of
// Prometheus, where each has a unit and some have labels.
package figures
