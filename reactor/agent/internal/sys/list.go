package sys

// Remove removes x from a list that has it at most once, and keeps the order of the others. T is
// comparable. It is declared as any, because the compiler then shares one function among all types
// of pointers (6 kB). Package slices would add 5 kB to the program for this.
func Remove[T any](list []T, x T) []T {
	for i, other := range list {
		if any(other) == any(x) {
			n := i + copy(list[i:], list[i+1:])
			clear(list[n:])
			return list[:n]
		}
	}
	return list
}
