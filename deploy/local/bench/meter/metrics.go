package meter

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Metrics is an answer of /metrics: samples in Prometheus's text format.
type Metrics []byte

// Sum adds up the samples of a name whose labels include all of those given, such as `topic="revenue.forecast.v1"`.
func (m Metrics) Sum(name string, labels ...string) float64 {
	sum := 0.0
	for line := range bytes.Lines(m) {
		rest, ok := bytes.CutPrefix(line, []byte(name))
		if !ok || len(rest) == 0 || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		value := rest[bytes.LastIndexByte(rest, ' ')+1:] // promhttp writes no timestamps
		if !hasAll(rest[:len(rest)-len(value)], labels) {
			continue
		}
		if n, err := strconv.ParseFloat(strings.TrimSpace(string(value)), 64); err == nil {
			sum += n
		}
	}
	return sum
}

func hasAll(set []byte, labels []string) bool {
	for _, label := range labels {
		if !bytes.Contains(set, []byte("{"+label)) && !bytes.Contains(set, []byte(","+label)) {
			return false
		}
	}
	return true
}

// Scraper reads the metrics of programs.
type Scraper struct{ client *http.Client }

// NewScraper makes a scraper that keeps its connections until Close. What it reads is not compressed: that would cost the
// program that is measured.
func NewScraper() *Scraper {
	return &Scraper{&http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableCompression: true}}}
}

// Close lets the connections go.
func (s *Scraper) Close() { s.client.CloseIdleConnections() }

// Scrape reads the metrics of the program at an address.
func (s *Scraper) Scrape(ctx context.Context, addr string) (Metrics, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("reading metrics of %s: status %d", addr, resp.StatusCode)
	}
	return body, nil
}
