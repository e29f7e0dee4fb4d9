// Command static is all that is in the image local/static:1, which has no shell and no C library.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Prints its arguments, or without any sleeps until it is asked to end.
func main() {
	if len(os.Args) > 1 {
		fmt.Println(strings.Join(os.Args[1:], " "))
		return
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGINT, syscall.SIGTERM)
	<-asked
}
