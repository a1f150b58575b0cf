// SPDX-License-Identifier: Apache-2.0 OR MIT

// Two connections over loopback; nanoseconds for a request and its answer, for each line.
package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"time"
)

const requests = 4000

func main() {
	certificate, err := tls.LoadX509KeyPair(os.Getenv("CERTIFICATE"), os.Getenv("KEY"))
	must(err)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}})
	must(err)
	go serve(listener)
	client, err := tls.Dial("tcp", listener.Addr().(*net.TCPAddr).String(), &tls.Config{InsecureSkipVerify: true})
	must(err)
	message := make([]byte, 200)
	orders := bufio.NewScanner(os.Stdin)
	for orders.Scan() {
		began := time.Now()
		for request := 0; request < requests; request++ {
			_, err := client.Write(message)
			must(err)
			_, err = client.Read(message)
			must(err)
		}
		fmt.Println(time.Since(began).Nanoseconds() / requests)
	}
}

func serve(listener net.Listener) {
	connection, err := listener.Accept()
	must(err)
	message := make([]byte, 1000)
	for {
		count, err := connection.Read(message)
		if err != nil {
			return
		}
		_, err = connection.Write(message[:count])
		must(err)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
