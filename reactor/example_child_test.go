package reactor_test

import (
	"fmt"
	"log"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"wick/reactor"
)

// This command has a deadline. It is a child, and a timer that kills its process group.
func ExampleLoop_Spawn() {
	loop, err := reactor.New(0) // no streams
	if err != nil {
		log.Fatal(err)
	}
	defer loop.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer null.Close()

	r := &runner{loop: loop}
	fd := int(null.Fd())
	command := reactor.Command{Path: "/bin/sh", Args: []string{"sh", "-c", "sleep 1000"}, Env: os.Environ(), Files: [3]int{fd, fd, fd}}
	if err := loop.Spawn(&r.child, &command, r); err != nil {
		log.Fatal(err)
	}
	loop.Start(&r.deadline, 10*time.Millisecond, r)
	if err := loop.Run(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// too late
	// signal: killed
}

// runner handles the end of the child and the deadline.
type runner struct {
	loop     *reactor.Loop
	child    reactor.Child
	deadline reactor.Timer
}

func (r *runner) Expired(*reactor.Timer) {
	fmt.Println("too late")
	r.child.SignalGroup(unix.SIGKILL)
}

func (r *runner) Exited(status unix.WaitStatus) {
	r.deadline.Stop()
	if status.Signaled() {
		fmt.Println("signal:", status.Signal())
	}
	r.loop.Stop()
}
