// Command probe asks a service whether it is ready, for the health checks of containers that have no shell: it exits 0 if
// the URL that it is given answers 200.
package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// timeout is below the interval that a health check runs at.
const timeout = 5 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("want one argument, a URL such as http://127.0.0.1:8101/readyz")
	}
	client := &http.Client{Timeout: timeout}
	response, err := client.Get(args[0])
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, 4<<10)) // only to say more: docker inspect shows it
	return fmt.Errorf("%s answered %s: %s", args[0], response.Status, body)
}
