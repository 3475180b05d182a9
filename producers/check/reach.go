package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// reach asks an address without credentials: any answer of the API's own says that it is there, also a refusal. So this
// tells a wrong address from a wrong key.
func reach(ctx context.Context, client *http.Client, address, variable string) Result {
	way := "check " + variable + ", the proxy (HTTPS_PROXY) and the network's way out"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return failed("set "+variable+" to http(s)://host/path", "the address is none")
	}
	start := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the address
		}
		return failed(way, "UNREACHABLE: %v", err)
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
	switch {
	case resp.StatusCode >= http.StatusInternalServerError:
		return failed("wait, and look at the vendor's status page", "answers %d", resp.StatusCode)
	case resp.StatusCode == http.StatusNotFound:
		return failed("check the host and the version in "+variable, "knows no %s: answers 404", req.URL.Path)
	case resp.StatusCode == http.StatusOK && !strings.Contains(resp.Header.Get("Content-Type"), "json"):
		return failed(way, "answers as no API does, with %s: a login page or a proxy?", shown(resp.Header.Get("Content-Type")))
	}
	return connected(start)
}

func shown(text string) string {
	if text == "" {
		return "nothing"
	}
	return fmt.Sprintf("%.60q", text)
}

// expired tells an access that was good once, as far as the API says so.
func expired(message string) bool { return strings.Contains(strings.ToLower(message), "expire") }
