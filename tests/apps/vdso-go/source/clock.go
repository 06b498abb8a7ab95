// The time, asked for often and on several threads: Go's run time finds the vDSO by itself, or else makes system calls, which
// qemu/trace-count-go counts.
package main

import (
	"fmt"
	"sync"
	"time"
)

const (
	askers = 4
	times  = 100000
)

// How often a moment was before the one before, of so many.
func backwards() int {
	count := 0
	last := time.Now()
	for i := 0; i < times; i++ {
		now := time.Now()
		if now.Sub(last) < 0 {
			count++
		}
		last = now
	}
	return count
}

func main() {
	counts := make([]int, askers)
	var all sync.WaitGroup
	for i := range counts {
		all.Add(1)
		go func() {
			defer all.Done()
			counts[i] = backwards()
		}()
	}
	all.Wait()
	fmt.Println("moments before the last one:", counts)
	fmt.Println("a year of this or a later century:", time.Now().Year() >= 2000)
}
