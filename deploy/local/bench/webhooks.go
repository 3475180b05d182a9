package bench

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what Salesloft signs with
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/revstream/revstream/deploy/local/bench/meter"
	"github.com/revstream/revstream/deploy/local/bench/rig"
	"github.com/revstream/revstream/deploy/local/ports"
	"github.com/revstream/revstream/deploy/local/process"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
	"github.com/revstream/revstream/schemas"
)

const (
	webhookRate    = 2000                   // deliveries a second
	webhookSenders = 128                    // at a time at most
	webhookPeople  = 5000                   // that deliveries are about
	webhookWarmUp  = 2000                   // deliveries
	webhookSecret  = "bench-webhook-secret" //nolint:gosec // opens this run's producer alone
	salesloftKey   = "bench-salesloft-key"  // opens the simulator alone
)

// webhooks measures deliveries to people-producer from the sender's side, up to the answer that says that the brokers have the
// event: how long they take where they come evenly, and how many there can be. Sender, receiver and broker share the processors.
func (r *run) webhooks() measurement {
	var deliveries []delivery
	return measurement{
		figures: []string{WebhookP99, WebhookMost},
		once:    true,
		setUp: func(context.Context) (err error) {
			deliveries, err = signedDeliveries()
			return err
		},
		measure: func(ctx context.Context) error {
			broker, err := r.rig.Broker(ctx, "broker-webhooks-"+strconv.Itoa(r.round+1))
			if err != nil {
				return err
			}
			if err := r.rig.Quiet(ctx); err != nil {
				return err
			}
			return errors.Join(r.deliver(ctx, broker, deliveries), broker.Stop(ctx), os.RemoveAll(broker.Dir))
		},
	}
}

// delivery is a body with its signature, which is made before anything is measured.
type delivery struct {
	body      []byte
	signature string
}

func signedDeliveries() ([]delivery, error) {
	sim, err := salesloftest.New(salesloftest.Config{Seed: 1, People: webhookPeople, APIKeys: []string{salesloftKey}})
	if err != nil {
		return nil, fmt.Errorf("making deliveries: %w", err)
	}
	defer sim.Close()
	deliveries := make([]delivery, 0, webhookPeople)
	for _, record := range sim.People {
		mac := hmac.New(sha1.New, []byte(webhookSecret))
		mac.Write(record)
		deliveries = append(deliveries, delivery{bytes.Clone(record), hex.EncodeToString(mac.Sum(nil))})
	}
	return deliveries, nil
}

// deliver has a producer receive, and counts what is on the topic.
func (r *run) deliver(ctx context.Context, broker *rig.Broker, deliveries []delivery) error {
	// Nobody is there to be polled: what comes, comes by webhook.
	sim, api, err := r.rig.Simulator(ctx, "salesloft", []string{"SALESLOFT_API_KEY=" + salesloftKey}, "--no-drift", "--people=0")
	if err != nil {
		return err
	}
	addr, err := ports.Free(ctx)
	if err != nil {
		return err
	}
	p, metrics, err := r.rig.Start(ctx, "people-producer", append(broker.Env(),
		"SALESLOFT_BASE_URL=http://"+api+"/v2", "SALESLOFT_API_KEY="+salesloftKey, "SALESLOFT_WEBHOOK_SECRET="+webhookSecret,
		"WEBHOOK_ADDR="+addr, "POLL_INTERVAL=1h", "RECONCILE_INTERVAL=0"), "people-producer")
	if err != nil {
		return err
	}
	s := newSender("http://"+addr+"/webhooks/salesloft", deliveries)
	defer s.close()
	if err := r.measureDeliveries(ctx, s, metrics, map[string]*process.Process{"producer": p, "broker": broker.Process}); err != nil {
		return fmt.Errorf("%w %s", err, r.logs())
	}
	r.report.add(WebhookMost, "rss_mb", float64(process.PeakMemory(p.PID()))/1e6)
	ends, err := broker.Ends(ctx, schemas.PeopleTopic)
	if sent := s.sent.Load(); err == nil && ends.Sum() != sent {
		err = fmt.Errorf("the figures are worth nothing: of %d deliveries that were answered 2xx, %d are on the topic %s", sent, ends.Sum(), r.logs())
	}
	return errors.Join(err, r.rig.Stop(ctx, p), r.rig.Stop(ctx, sim))
}

func (r *run) measureDeliveries(ctx context.Context, s *sender, metrics string, shares map[string]*process.Process) error {
	if err := rig.Poll(ctx, shares["producer"], 20*time.Millisecond, func(ctx context.Context) (bool, error) {
		_, err := r.scraper.Scrape(ctx, metrics)
		return err == nil && s.send(ctx, 0) == nil, nil
	}); err != nil {
		return err
	}
	if _, err := s.run(ctx, webhookWarmUp, webhookRate); err != nil {
		return err
	}
	seconds, err := s.run(ctx, int(r.size.fresh.Seconds())*webhookRate, webhookRate)
	if err != nil {
		return err
	}
	p99 := meter.Quantile(seconds, 0.99) * 1000
	r.report.add(WebhookP99, "", p99)
	r.report.add(WebhookP99, "p50_ms", meter.Quantile(seconds, 0.5)*1000)
	r.report.add(WebhookP99, "max_ms", meter.Quantile(seconds, 1)*1000)

	before, begun := map[string]time.Duration{}, time.Now()
	for name, share := range shares {
		if before[name], err = meter.CPU(share.PID()); err != nil {
			return err
		}
	}
	most := 4 * int(r.size.fresh.Seconds()) * webhookRate
	if seconds, err = s.run(ctx, most, 0); err != nil {
		return err
	}
	rate := float64(most) / time.Since(begun).Seconds()
	r.report.add(WebhookMost, "", rate)
	r.report.add(WebhookMost, "p99_ms", meter.Quantile(seconds, 0.99)*1000)
	for name, share := range shares {
		used, err := meter.CPU(share.PID())
		if err != nil {
			return err
		}
		r.report.add(WebhookMost, name+"_us_per_delivery", float64((used-before[name]).Microseconds())/float64(most))
	}
	r.say("%s: %.1f, %s: %.0f", WebhookP99, p99, WebhookMost, rate)
	return nil
}

// sender delivers as Salesloft does, but from fewer connections.
type sender struct {
	url        string
	client     *http.Client
	deliveries []delivery
	sent       atomic.Int64 // answered 2xx
}

func newSender(url string, deliveries []delivery) *sender {
	transport := &http.Transport{MaxIdleConnsPerHost: webhookSenders, MaxConnsPerHost: webhookSenders, DisableCompression: true}
	return &sender{url: url, client: &http.Client{Transport: transport, Timeout: time.Minute}, deliveries: deliveries}
}

func (s *sender) close() { s.client.CloseIdleConnections() }

// run sends n deliveries, perSecond of them or, if that is 0, as many as go. It returns how many seconds each has taken from when
// it was due: one that had to wait for a sender has begun to wait by then.
func (s *sender) run(ctx context.Context, n, perSecond int) ([]float64, error) {
	seconds, next, begun := make([]float64, n), atomic.Int64{}, time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for range webhookSenders {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				due := time.Now()
				if perSecond > 0 {
					due = begun.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
					if err := resilience.Sleep(ctx, time.Until(due)); err != nil {
						return err
					}
				}
				if err := s.send(ctx, i); err != nil {
					return err
				}
				seconds[i] = time.Since(due).Seconds()
			}
		})
	}
	return seconds, group.Wait()
}

func (s *sender) send(ctx context.Context, i int) error {
	d := s.deliveries[i%len(s.deliveries)]
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(d.body))
	if err != nil {
		return fmt.Errorf("delivering: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(salesloft.EventHeader, "person_updated")
	req.Header.Set(salesloft.SignatureHeader, d.signature)
	resp, err := s.client.Do(req)
	if err != nil {
		return fmt.Errorf("delivering: %w", err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("delivering: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("delivering: answered %s", resp.Status)
	}
	s.sent.Add(1)
	return nil
}
