// An HTTP server that is a client too: what Go's run time and its net package make of the machine's network.
//
//	GET /hello            a greeting
//	GET /bytes/COUNT      so many bytes, of which each says where it is
//	POST /echo            the body
//	GET /fetch/HOST/PATH  what that server answers
//	GET /wait/MS          an answer after so many milliseconds
//	GET /interfaces       a line for each address of each interface
//	GET /resolve/NAME     its addresses
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func number(request *http.Request) int {
	value, err := strconv.Atoi(request.PathValue("number"))
	if err != nil || value < 0 {
		return 0
	}
	return value
}

func bytesOf(writer http.ResponseWriter, request *http.Request) {
	count := number(request)
	writer.Header().Set("Content-Length", strconv.Itoa(count))
	buffered := bufio.NewWriterSize(writer, 32<<10)
	for index := 0; index < count; index++ {
		if buffered.WriteByte(byte(index)^byte(index>>8)) != nil {
			return
		}
	}
	buffered.Flush()
}

func fetch(writer http.ResponseWriter, request *http.Request) {
	answer, err := http.Get("http://" + request.PathValue("url"))
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	writer.WriteHeader(answer.StatusCode)
	io.Copy(writer, answer.Body)
}

func interfaces(writer http.ResponseWriter, _ *http.Request) {
	all, err := net.Interfaces()
	if err != nil {
		http.Error(writer, err.Error(), http.StatusInternalServerError)
		return
	}
	for _, one := range all {
		addresses, err := one.Addrs()
		fmt.Fprintf(writer, "%s mtu %d %s %v\n", one.Name, one.MTU, one.Flags, err)
		for _, address := range addresses {
			fmt.Fprintf(writer, "%s %s\n", one.Name, address)
		}
	}
}

func resolve(writer http.ResponseWriter, request *http.Request) {
	limit, cancel := context.WithTimeout(request.Context(), 10*time.Second)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(limit, request.PathValue("name"))
	fmt.Fprintln(writer, strings.Join(addresses, " "), err)
}

func main() {
	http.HandleFunc("GET /hello", func(writer http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(writer, "hello\n")
	})
	http.HandleFunc("GET /bytes/{number}", bytesOf)
	http.HandleFunc("POST /echo", func(writer http.ResponseWriter, request *http.Request) {
		// The body is answered while it still comes.
		http.NewResponseController(writer).EnableFullDuplex()
		io.Copy(writer, request.Body)
	})
	http.HandleFunc("GET /fetch/{url...}", fetch)
	http.HandleFunc("GET /wait/{number}", func(writer http.ResponseWriter, request *http.Request) {
		time.Sleep(time.Duration(number(request)) * time.Millisecond)
		fmt.Fprint(writer, "hello\n")
	})
	http.HandleFunc("GET /interfaces", interfaces)
	http.HandleFunc("GET /resolve/{name}", resolve)
	log.Fatal(http.ListenAndServe(":8080", nil))
}
