package people

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/tracing"
	"github.com/revstream/revstream/producers/publish"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/schemas/event"
	"github.com/revstream/revstream/schemas/people"
)

const (
	maxDelivery = 1 << 20 // bytes of a body
	// maxInFlight bounds the deliveries that are read or wait for the brokers, and with maxDelivery the memory they take.
	maxInFlight = 256
	retryAfter  = "15" // seconds, Salesloft's own rhythm
)

// signatureHeaders says where each algorithm's senders put the signature.
var signatureHeaders = map[salesloft.Algorithm]string{
	salesloft.SHA1:   salesloft.SignatureHeader,
	salesloft.SHA256: "X-Signature",
}

// ReceiverConfig says how to receive webhooks. Embed it in a binary's settings.
type ReceiverConfig struct {
	Addr       string        `name:"webhook-addr" env:"WEBHOOK_ADDR" default:"127.0.0.1:8112" placeholder:"HOST:PORT" help:"Address of the webhook receiver." group:"Webhooks"`
	Algorithm  string        `name:"webhook-algorithm" env:"WEBHOOK_ALGORITHM" default:"sha1" placeholder:"NAME" help:"How deliveries are signed: sha1 (Salesloft, in X-Salesloft-Signature) or sha256 (in X-Signature)." group:"Webhooks"`
	AckTimeout time.Duration `name:"webhook-ack-timeout" env:"WEBHOOK_ACK_TIMEOUT" default:"10s" help:"How long a delivery waits for the brokers before it is refused with 503, to be delivered again." group:"Webhooks"`

	AllowedCIDRs   []netip.Prefix `name:"webhook-allowed-cidrs" env:"WEBHOOK_ALLOWED_CIDRS" placeholder:"CIDR" help:"Networks that deliveries may come from, separated by commas, such as 203.0.113.0/24; from anywhere if empty." group:"Webhooks"`
	TrustedProxies []netip.Prefix `name:"webhook-trusted-proxies" env:"WEBHOOK_TRUSTED_PROXIES" placeholder:"CIDR" help:"Networks of the proxies before the receiver, whose X-Forwarded-For is believed." group:"Webhooks"`
}

// Inbox takes what deliveries bring; *publish.Publisher is one, whose documentation says what each method promises.
type Inbox interface {
	PublishFunc(ctx context.Context, e event.Event, answered func(error)) error
	RejectFunc(ctx context.Context, r publish.Rejection, answered func(error))
}

// Receiver takes webhook deliveries. It answers 2xx only for what the brokers have acknowledged, so that whatever happens
// before that, the sender delivers again.
type Receiver struct {
	cfg        ReceiverConfig
	algorithm  salesloft.Algorithm
	secrets    func() []string
	logger     *slog.Logger
	people     Inbox
	deliveries *prometheus.CounterVec
	slots      chan struct{} // one element per delivery in flight
}

// Validate names every setting that is wrong. It does no I/O.
func (cfg ReceiverConfig) Validate() error {
	_, err := salesloft.ParseAlgorithm(cfg.Algorithm)
	if err != nil {
		err = fmt.Errorf("WEBHOOK_ALGORITHM: %w", err)
	}
	if cfg.AckTimeout <= 0 {
		err = errors.Join(err, fmt.Errorf("WEBHOOK_ACK_TIMEOUT: %s is not positive", cfg.AckTimeout))
	}
	return err
}

// NewReceiver checks the configuration. It does no I/O. secrets returns those that deliveries may be signed with, which are
// several while one is rotated; it is called for each delivery, so that a new one counts at once.
func NewReceiver(cfg ReceiverConfig, logger *slog.Logger, people Inbox, secrets func() []string, reg prometheus.Registerer) (*Receiver, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	algorithm, err := salesloft.ParseAlgorithm(cfg.Algorithm)
	if err != nil {
		return nil, err
	}
	deliveries, err := newWebhookMetrics(reg)
	if err != nil {
		return nil, err
	}
	return &Receiver{
		cfg: cfg, algorithm: algorithm, secrets: secrets, logger: logger, people: people, deliveries: deliveries,
		slots: make(chan struct{}, maxInFlight),
	}, nil
}

// Listen opens the receiver's port.
func (r *Receiver) Listen(ctx context.Context) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", r.cfg.Addr)
	_, port, splitErr := net.SplitHostPort(r.cfg.Addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && splitErr == nil:
		return nil, fmt.Errorf("WEBHOOK_ADDR %s: port %s is in use: stop what listens on it, or choose another with WEBHOOK_ADDR or --webhook-addr", r.cfg.Addr, port)
	case err != nil:
		return nil, fmt.Errorf("WEBHOOK_ADDR (--webhook-addr): %w", err)
	}
	return listener, nil
}

// Serve receives until ctx ends, then finishes the deliveries in flight. It closes the listener.
func (r *Receiver) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           r,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      15*time.Second + r.cfg.AckTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(r.logger.Handler(), slog.LevelDebug),
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		stopped <- server.Shutdown(grace)
	})
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving webhooks: %w", err)
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("finishing the webhook deliveries in flight: %w", err)
	}
	return nil
}

// verdict is the answer to a delivery.
type verdict struct {
	status int
	result string // label of the metric
}

// What can never become an event is answered as if it had: the sender's trying again would not help, and a dead letter has it.
var (
	published    = verdict{http.StatusOK, "published"}
	unknownEvent = verdict{http.StatusOK, "unknown_event"}
	malformed    = verdict{http.StatusOK, "malformed"}
	invalid      = verdict{http.StatusOK, "invalid"}
	cutOff       = verdict{http.StatusBadRequest, "cut_off"}
	tooLarge     = verdict{http.StatusRequestEntityTooLarge, "too_large"}
	badSignature = verdict{http.StatusUnauthorized, "bad_signature"}
	notAllowed   = verdict{http.StatusForbidden, "not_allowed"}
	unavailable  = verdict{http.StatusServiceUnavailable, "unavailable"}
)

var verdicts = []verdict{published, unknownEvent, malformed, invalid, cutOff, tooLarge, badSignature, notAllowed, unavailable}

// ServeHTTP takes one delivery, on any path.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	v := unavailable
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
		v = r.receive(resilience.WithCorrelationID(req.Context(), uuid.NewString()), w, req)
	default:
	}
	r.deliveries.WithLabelValues(v.result).Inc()
	if v == unavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(v.status)
}

func (r *Receiver) receive(ctx context.Context, w http.ResponseWriter, req *http.Request) verdict {
	if !r.cfg.allows(req) {
		return notAllowed
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxDelivery))
	var limit *http.MaxBytesError
	switch {
	case errors.As(err, &limit):
		return tooLarge
	case err != nil:
		return cutOff
	}
	// Nothing of a delivery is looked at, or logged, before it is known to be the sender's.
	if !r.signed(body, req.Header.Get(signatureHeaders[r.algorithm])) {
		return badSignature
	}
	ctx, cancel := context.WithTimeout(ctx, r.cfg.AckTimeout)
	defer cancel()
	ctx, span := startSpan(ctx, "people webhook", trace.WithSpanKind(trace.SpanKindServer))
	v := r.take(ctx, req.Header.Get(salesloft.EventHeader), body)
	span.SetAttributes(attribute.String(tracing.Outcome, v.result))
	if v == unavailable {
		span.SetStatus(codes.Error, "not acknowledged by the brokers")
	}
	span.End()
	return v
}

// take publishes what a delivery brings.
func (r *Receiver) take(ctx context.Context, kind string, body []byte) verdict {
	delivery, err := salesloft.ParseWebhook(kind, body)
	if err != nil {
		return r.reject(ctx, 0, body, malformed, err)
	}
	if delivery.Kind == salesloft.UnknownEvent {
		return unknownEvent
	}
	e, err := eventOf(delivery, resilience.CorrelationID(ctx))
	if err != nil {
		return r.reject(ctx, delivery.PersonID, body, invalid, err)
	}
	return r.publish(ctx, e, body)
}

// signed tells whether one of the secrets has signed a body.
func (r *Receiver) signed(body []byte, signature string) bool {
	return slices.ContainsFunc(r.secrets(), func(secret string) bool {
		return salesloft.VerifySignature(r.algorithm, secret, body, signature) == nil
	})
}

func eventOf(delivery salesloft.Event, correlationID string) (*people.Person, error) {
	if delivery.Kind == salesloft.PersonDeleted {
		return deletion(delivery, time.Now(), correlationID)
	}
	return upsert(*delivery.Person, time.Now(), correlationID)
}

// publish waits for the brokers' acknowledgement. When it gives up, the event may still arrive: it has the ID of the one
// that the sender delivers next.
func (r *Receiver) publish(ctx context.Context, e *people.Person, body []byte) verdict {
	answered := make(chan error, 1)
	err := r.people.PublishFunc(ctx, e, func(err error) { answered <- err })
	switch {
	case errors.Is(err, publish.ErrInvalid):
		return r.reject(ctx, e.PersonID, body, invalid, err)
	case err != nil:
		answered <- err
	}
	return r.await(ctx, answered, published)
}

// reject waits for the letter's acknowledgement: until then the sender has the only copy.
func (r *Receiver) reject(ctx context.Context, id int64, body []byte, v verdict, reason error) verdict {
	r.logger.WarnContext(ctx, "webhook rejected", "person_id", id, "reason", reason)
	answered := make(chan error, 1)
	r.people.RejectFunc(ctx, rejection(id, body, v.result, reason, resilience.CorrelationID(ctx)), func(err error) { answered <- err })
	return r.await(ctx, answered, v)
}

func (r *Receiver) await(ctx context.Context, answered <-chan error, v verdict) verdict {
	var err error
	select {
	case err = <-answered:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		r.logger.DebugContext(ctx, "webhook not acknowledged by the brokers", "error", err)
		return unavailable
	}
	return v
}
