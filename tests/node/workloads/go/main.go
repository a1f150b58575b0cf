// SPDX-License-Identifier: Apache-2.0 OR MIT

// The DaemonSet: a server on port 8080 that counts what it is asked.
package main

import (
	"fmt"
	"log"
	"net/http"
	"sync/atomic"
)

func main() {
	var asked atomic.Int64
	http.HandleFunc("/", func(answer http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(answer, asked.Add(1))
	})
	log.Fatal(http.ListenAndServe(":8080", nil))
}
