package client_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"

	"wick/framing/client"
)

// dialAgent connects to a guest that has the extension, as client.Dial does with its address.
var dialAgent = client.DialTestAgent

func ExampleClient_Command() {
	ctx := context.Background()
	c, err := dialAgent(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	cmd := c.Command("sh", "-c", "tr a-z A-Z; exit 3")
	cmd.Stdin = strings.NewReader("hello\n")
	cmd.Stdout = os.Stdout
	cmd.Timeout = 5 * time.Second
	receipt, err := cmd.Run(ctx)
	fmt.Println(receipt.Code, err)
	// Output:
	// HELLO
	// 3 exit status 3
}

// A kept process continues on a new connection.
func ExampleCmd_Reattach() {
	ctx := context.Background()
	c, err := dialAgent(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	cmd := c.ShellCommand("read line; echo got $line")
	cmd.Keep = time.Minute
	cmd.Stdout = os.Stdout
	in, err := cmd.StdinPipe()
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := cmd.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	c.Close() // simulates a lost connection
	_, err = cmd.Wait(ctx)
	fmt.Println(errors.Is(err, client.ErrClosed))

	c, err = dialAgent(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	if err := cmd.Reattach(ctx, c); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprintln(in, "it")
	_, err = cmd.Wait(ctx)
	fmt.Println(err)
	// Output:
	// true
	// got it
	// <nil>
}

func ExampleClient_FS() {
	ctx := context.Background()
	c, err := dialAgent(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	status, err := fs.ReadFile(c.FS(ctx, "/proc/self"), "comm")
	fmt.Printf("%s%v\n", status, err)
	_, err = c.Stat(ctx, "/nosuch")
	fmt.Println(errors.Is(err, fs.ErrNotExist), err)
	// Output:
	// vsock-agent
	// <nil>
	// true stat /nosuch: no such file or directory
}

func ExampleClient_WriteStream() {
	ctx := context.Background()
	c, err := dialAgent(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	name := fmt.Sprintf("/tmp/wick-example-%d/file", os.Getpid())
	n, err := c.WriteStream(ctx, name, strings.NewReader("content\n"), client.WriteOptions{Mode: 0o600, Parents: true})
	fmt.Println(n, err)
	fmt.Println(c.RemoveAll(ctx, name[:len(name)-len("/file")]))
	// Output:
	// 8 <nil>
	// <nil>
}

// A web server in the guest is reached without a network.
func ExampleClient_DialContext() {
	ctx := context.Background()
	c, err := dialAgent(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	server := httptest.NewServer(http.FileServer(http.Dir("testdata"))) // as if in the guest
	defer server.Close()

	web := &http.Client{Transport: &http.Transport{DialContext: c.DialContext}}
	defer web.CloseIdleConnections()
	r, err := web.Get(server.URL + "/nosuch")
	if err != nil {
		fmt.Println(err)
		return
	}
	r.Body.Close()
	fmt.Println(r.Status)
	// Output: 404 Not Found
}

// Programs in the guest use a proxy of the host.
func ExampleClient_Listen() {
	ctx := context.Background()
	c, err := dialAgent(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	ln, err := c.Listen(ctx, "tcp", "localhost:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	origin, err := url.Parse("http://origin.example")
	if err != nil {
		fmt.Println(err)
		return
	}
	proxy := httputil.NewSingleHostReverseProxy(origin)
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusTeapot) }
	proxy.Transport = http.NewFileTransport(http.Dir("nosuch")) // instead of the Internet
	go http.Serve(ln, proxy)
	defer ln.Close()

	r, err := http.Get("http://" + ln.Addr().String() + "/") // as if in the guest
	if err != nil {
		fmt.Println(err)
		return
	}
	r.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	fmt.Println(r.Status)
	// Output: 404 Not Found
}

func ExampleClient_Stats() {
	ctx := context.Background()
	c, err := dialAgent(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	stats, err := c.Stats(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	total, available := stats.Memory()
	fmt.Println(available <= total)
	// Output: true
}
