package kafkaclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/revstream/revstream/pipeline/secret"
)

// tls returns nil if the connection is to be in the clear.
func (c Config) tls() (*tls.Config, error) {
	if !c.TLS && c.TLSCAFile == "" && c.TLSCertFile == "" && c.TLSKeyFile == "" {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLSCAFile != "" {
		pem, err := os.ReadFile(c.TLSCAFile)
		if err != nil {
			return nil, fmt.Errorf("KAFKA_TLS_CA_FILE: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("KAFKA_TLS_CA_FILE: no certificate in %s", c.TLSCAFile)
		}
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		return nil, errors.New("KAFKA_TLS_CERT_FILE and KAFKA_TLS_KEY_FILE go together: one of them is not set")
	}
	if c.TLSCertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.TLSCertFile, c.TLSKeyFile)
		if err != nil {
			return nil, fmt.Errorf("KAFKA_TLS_CERT_FILE, KAFKA_TLS_KEY_FILE: %w", err)
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

// login opens the password when the client first authenticates and reads its newest value each time after, so that a
// rotated password reaches every connection made from then on. As a client's hook it is closed with the client.
type login struct {
	mechanism sasl.Mechanism
	user      string
	ref       secret.Ref

	mu       sync.Mutex
	password *secret.Value // nil until the first authentication
}

// sasl returns nil if the client is not to authenticate.
func (c Config) sasl() (*login, error) {
	l := &login{user: c.SASLUser, ref: c.SASLPassword}
	switch c.SASLMechanism {
	case "":
		if c.SASLUser != "" || c.SASLPassword != "" {
			return nil, errors.New("KAFKA_SASL_MECHANISM is required with KAFKA_SASL_USER or KAFKA_SASL_PASSWORD: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
		}
		return nil, nil
	case "PLAIN":
		l.mechanism = plain.Plain(func(ctx context.Context) (plain.Auth, error) {
			password, err := l.get(ctx)
			return plain.Auth{User: l.user, Pass: password}, err
		})
	case "SCRAM-SHA-256":
		l.mechanism = scram.Sha256(l.scram)
	case "SCRAM-SHA-512":
		l.mechanism = scram.Sha512(l.scram)
	default:
		return nil, fmt.Errorf("KAFKA_SASL_MECHANISM: %q is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512", c.SASLMechanism)
	}
	if c.SASLUser == "" || c.SASLPassword == "" {
		return nil, errors.New("KAFKA_SASL_USER and KAFKA_SASL_PASSWORD (or KAFKA_SASL_PASSWORD_FILE) are required with KAFKA_SASL_MECHANISM")
	}
	return l, nil
}

func (l *login) scram(ctx context.Context) (scram.Auth, error) {
	password, err := l.get(ctx)
	return scram.Auth{User: l.user, Pass: password}, err
}

func (l *login) get(ctx context.Context) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.password == nil {
		password, err := secret.Open(ctx, "KAFKA_SASL_PASSWORD", l.ref)
		if err != nil {
			return "", err
		}
		l.password = password
	}
	return l.password.Get(), nil
}

// OnClientClosed implements kgo.HookClientClosed.
func (l *login) OnClientClosed(*kgo.Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.password != nil {
		_ = l.password.Close() // nothing is lost with a watcher that fails to close
	}
}
