// Command shop is a static server, the only program of the image of a machine that knows its job.
//
//	GET /          count a visit on the data volume, and say what the server knows
//	GET /crash     crash
//	GET /restored  wait until the server was told of a restore, and say its epoch
//	GET /quit      end with exit code 7
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
)

const visits = "/data/visits"

func main() {
	restored := make(chan struct{})
	told := sync.OnceFunc(func() { close(restored) })
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	go func() {
		for range signals {
			fmt.Println("restored, epoch", epoch())
			told()
		}
	}()
	http.HandleFunc("GET /{$}", visit)
	http.HandleFunc("GET /crash", func(http.ResponseWriter, *http.Request) {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	})
	http.HandleFunc("GET /restored", func(w http.ResponseWriter, _ *http.Request) {
		<-restored
		fmt.Fprintln(w, "epoch", epoch())
	})
	http.HandleFunc("GET /quit", func(http.ResponseWriter, *http.Request) {
		fmt.Println("closing")
		os.Exit(7)
	})
	fmt.Println("open")
	log.Fatal(http.ListenAndServe(":80", nil))
}

// visit counts a visit.
func visit(w http.ResponseWriter, _ *http.Request) {
	name, err := os.Hostname()
	n := 0
	if text, failed := os.ReadFile(visits); failed == nil {
		fmt.Sscan(string(text), &n)
	}
	n++
	if err == nil {
		err = os.WriteFile(visits, fmt.Appendln(nil, n), 0o644)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "%s: visit %d, a token of %d bytes\n", name, n, len(os.Getenv("TOKEN")))
}

// epoch returns how often the machine was restored.
func epoch() string {
	text, err := os.ReadFile("/run/wick/generation")
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}
