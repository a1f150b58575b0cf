// SPDX-License-Identifier: Apache-2.0 OR MIT

// Go's own HTTPS on both ends: goroutines, each with a client of its own.
package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"io/ioutil"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
)

func main() {
	sessions, _ := strconv.Atoi(os.Args[1])
	requests, _ := strconv.Atoi(os.Args[2])
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	echo := http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		io.WriteString(response, request.URL.Path)
	})
	// HTTP/1.1 only: what is tested is TLS.
	server := &http.Server{Handler: echo, TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
	go server.ServeTLS(listener, os.Getenv("CERTIFICATE"), os.Getenv("KEY"))
	fmt.Printf("ready %d\n", listener.Addr().(*net.TCPAddr).Port)

	orders := bufio.NewScanner(os.Stdin)
	for round := 0; orders.Scan(); round++ {
		var waiting sync.WaitGroup
		for number := 0; number < sessions; number++ {
			waiting.Add(1)
			go func(number int) {
				defer waiting.Done()
				transport := &http.Transport{
					TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
					DisableKeepAlives: number%2 == 1,
				}
				client := &http.Client{Transport: transport}
				for index := 0; index < requests; index++ {
					path := fmt.Sprintf("/go/%d/%d/%d", round, number, index)
					response, err := client.Get("https://" + listener.Addr().String() + path)
					must(err)
					body, err := ioutil.ReadAll(response.Body)
					must(err)
					response.Body.Close()
					if string(body) != path {
						panic(path + " was answered with " + string(body))
					}
					fmt.Println(path)
				}
				transport.CloseIdleConnections()
			}(number)
		}
		waiting.Wait()
		fmt.Println()
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
