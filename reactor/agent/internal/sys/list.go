package sys

// Remove removes x from a list that has it at most once, and keeps the order of the others.
// Package slices would add 5 kB to the program for this.
func Remove[T comparable](list []T, x T) []T {
	for i, other := range list {
		if other == x {
			n := i + copy(list[i:], list[i+1:])
			clear(list[n:])
			return list[:n]
		}
	}
	return list
}
