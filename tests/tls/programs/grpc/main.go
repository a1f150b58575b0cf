// SPDX-License-Identifier: Apache-2.0 OR MIT

// grpc-go over TLS on both ends: many calls at once on one connection, each of a method of its own name.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// Messages are bytes, so that nothing has to be generated.
type plain struct{}

func (plain) Marshal(value any) ([]byte, error) { return *value.(*[]byte), nil }
func (plain) Unmarshal(data []byte, value any) error {
	*value.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (plain) Name() string { return "plain" }

// A method is answered by its name.
func answer(_ any, stream grpc.ServerStream) error {
	var message []byte
	if err := stream.RecvMsg(&message); err != nil && err != io.EOF {
		return err
	}
	method, _ := grpc.MethodFromServerStream(stream)
	reply := []byte(method)
	return stream.SendMsg(&reply)
}

func main() {
	tasks, _ := strconv.Atoi(os.Args[1])
	calls, _ := strconv.Atoi(os.Args[2])
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	identity, err := credentials.NewServerTLSFromFile(os.Getenv("CERTIFICATE"), os.Getenv("KEY"))
	must(err)
	server := grpc.NewServer(grpc.Creds(identity), grpc.ForceServerCodec(plain{}), grpc.UnknownServiceHandler(answer))
	go server.Serve(listener)
	trust := credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})
	client, err := grpc.NewClient(
		listener.Addr().String(), grpc.WithTransportCredentials(trust), grpc.WithDefaultCallOptions(grpc.ForceCodec(plain{})))
	must(err)
	fmt.Printf("ready %d\n", listener.Addr().(*net.TCPAddr).Port)

	orders := bufio.NewScanner(os.Stdin)
	for round := 0; orders.Scan(); round++ {
		var waiting sync.WaitGroup
		for task := 0; task < tasks; task++ {
			waiting.Add(1)
			go func(task int) {
				defer waiting.Done()
				for call := 0; call < calls; call++ {
					method := fmt.Sprintf("/tls.v1.Echo/Call%d_%d_%d", round, task, call)
					question, reply := []byte("what are you called?"), []byte(nil)
					must(client.Invoke(context.Background(), method, &question, &reply))
					if string(reply) != method {
						panic(method + " was answered with " + string(reply))
					}
					fmt.Println(method[1:])
				}
			}(task)
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
