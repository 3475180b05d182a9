// Command probe asks a service whether it is ready, for the health checks of containers that have no shell: it exits 0 if
// the URL that it is given answers 200.
package main

import (
	"context"
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
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

const usage = `Usage: probe URL

Exits 0 if the URL, such as http://127.0.0.1:8101/readyz, answers 200 within 5 seconds; else 1, and says why.
`

func run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
		_, err := io.WriteString(stdout, usage)
		return err
	}
	if len(args) != 1 {
		return errors.New("want one argument, a URL such as http://127.0.0.1:8101/readyz")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], nil)
	if err != nil {
		return fmt.Errorf("reading the URL: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
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
