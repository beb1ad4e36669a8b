// Package runtime has this file of the standard library's replaced in the guest's programs. The
// real one looks in cgroups for the number of processors on which goroutines run.
package runtime

func defaultGOMAXPROCSInit()          {}
func defaultGOMAXPROCSUpdateGODEBUG() {}

// defaultGOMAXPROCS returns 1, because these programs have one goroutine. The real one returns the
// number of the machine's processors, and the program then gives all but one up. By then each has
// taken 24 kB, and the first objects are spread over twice as many pages.
func defaultGOMAXPROCS(int32) int32 { return 1 }
