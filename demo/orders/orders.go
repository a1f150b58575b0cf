// SPDX-License-Identifier: Apache-2.0 OR MIT

// The shop's `orders` service, in Go. A new order looks at the stock of four things at once, then is paid for; a
// refused payment is tried once more. Ends with its standard input.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
)

func main() {
	http.HandleFunc("GET /orders/{id}", func(response http.ResponseWriter, request *http.Request) {
		status, body := call("INVENTORY", "GET", "/stock/"+request.PathValue("id"))
		answer(response, status, body)
	})
	http.HandleFunc("POST /orders", func(response http.ResponseWriter, _ *http.Request) {
		var looks sync.WaitGroup
		for thing := 1; thing <= 4; thing++ {
			looks.Add(1)
			go func() {
				defer looks.Done()
				call("INVENTORY", "GET", fmt.Sprintf("/stock/%d", thing))
			}()
		}
		looks.Wait()
		status, body := call("PAYMENTS", "POST", "/charge")
		if status == http.StatusServiceUnavailable {
			status, body = call("PAYMENTS", "POST", "/charge")
		}
		if status == http.StatusOK {
			status, body = http.StatusCreated, "ordered"
		}
		answer(response, status, body)
	})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}

func call(service, method, path string) (int, string) {
	request, err := http.NewRequest(method, "http://"+os.Getenv(service)+path, strings.NewReader(""))
	if err != nil {
		return http.StatusBadGateway, err.Error()
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return http.StatusBadGateway, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return http.StatusBadGateway, err.Error()
	}
	return response.StatusCode, string(body)
}

func answer(response http.ResponseWriter, status int, body string) {
	response.WriteHeader(status)
	io.WriteString(response, body)
}
