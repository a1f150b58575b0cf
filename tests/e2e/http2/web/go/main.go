// SPDX-License-Identifier: Apache-2.0 OR MIT

// An HTTP server in Go that speaks HTTP/1, and HTTP/2 to whoever asks for it, by preface or by `Upgrade: h2c`. It prints
// its port, answers with the path, and ends with its standard input.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	answer := http.HandlerFunc(func(to http.ResponseWriter, request *http.Request) {
		if request.URL.Path == "/missing" {
			to.WriteHeader(http.StatusNotFound)
		}
		_, _ = io.WriteString(to, request.URL.Path)
	})
	panic(http.Serve(listener, h2c.NewHandler(answer, &http2.Server{})))
}
