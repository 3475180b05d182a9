// Package secret owns how a binary is given a credential and how it keeps up with its rotation.
//
// A setting NAME is given in one of three ways: as the plain value in the environment variable NAME, as the path of
// a file in NAME_FILE, or as a runtimevar URL in NAME ("file:///run/secrets/key", "awssecretsmanager://key?region=…").
// Files and cloud secrets are watched, so a rotated credential is picked up without a restart.
package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gocloud.dev/runtimevar"
	_ "gocloud.dev/runtimevar/constantvar" // constant://, for tests and development
	_ "gocloud.dev/runtimevar/filevar"     // file://, mounted secrets
)

// ErrMissing is returned by Open when a setting is empty, or names a secret whose value is empty.
var ErrMissing = errors.New("secret is missing")

// fileRetry is how soon a file that has vanished is looked for again. A mounted secret is replaced within
// milliseconds; the driver's default of 30 s would leave a revoked credential in use for that long.
const fileRetry = "1s"

// Ref says where a secret is: its plain value, or a runtimevar URL. As it may be the value itself, every way of
// printing it redacts; convert with string(ref) where the value is really wanted.
type Ref string

// redacted stands for the value of a Ref wherever one is printed.
const redacted = "[redacted]"

// String returns a placeholder, or "" if the reference is empty.
func (r Ref) String() string {
	if r == "" {
		return ""
	}
	return redacted
}

// GoString keeps %#v from printing the value.
func (r Ref) GoString() string { return fmt.Sprintf("%q", r.String()) }

// LogValue keeps slog from printing the value.
func (r Ref) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalText keeps encoders from writing the value.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// url returns the reference as a runtimevar URL, or nil if it is a plain value. A plain value may well look like a
// URL (a database's DSN), so only the schemes of the linked drivers count.
func (r Ref) url() (*url.URL, error) {
	scheme, _, found := strings.Cut(string(r), "://")
	if !found || !runtimevar.DefaultURLMux().ValidVariableScheme(scheme) {
		return nil, nil
	}
	u, err := url.Parse(string(r))
	if err != nil {
		// The parser's error quotes its input, which may hold the value.
		return nil, fmt.Errorf("parsing the %s:// reference: not a valid URL", scheme)
	}
	if q := u.Query(); scheme == "file" && !q.Has("wait") {
		q.Set("wait", fileRetry)
		u.RawQuery = q.Encode()
	}
	return u, nil
}

// Read resolves ref once, for a setting that is used at the start and never
// again, such as the URL of a database with a password in it.
func Read(ctx context.Context, name string, ref Ref) (string, error) {
	value, err := Open(ctx, name, ref)
	if err != nil {
		return "", err
	}
	return value.Get(), value.Close()
}

// Value is a secret that is kept up to date. Get is safe for concurrent use and takes no lock.
type Value struct {
	current atomic.Pointer[version] // written by Open, then by watch alone

	variable *runtimevar.Variable // nil for a plain value
	stop     context.CancelFunc
	watching sync.WaitGroup
	close    sync.Once
	closeErr error
}

type version struct {
	value string
	since time.Time
}

// Open resolves ref and returns its value, which it watches until Close. It reads the secret once before returning,
// so that a wrong reference is an error here and not a refused request later. name is the environment variable that
// errors name. ctx bounds the first read only.
func Open(ctx context.Context, name string, ref Ref) (*Value, error) {
	if ref == "" {
		return nil, fmt.Errorf("%w: set %s, or %s_FILE to the path of a file that holds it", ErrMissing, name, name)
	}
	u, err := ref.url()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if u == nil {
		v := &Value{}
		v.store(string(ref), time.Now())
		return v, nil
	}
	v, err := openURL(ctx, u)
	if err != nil {
		return nil, fmt.Errorf("%s: reading the secret behind %s: %w", name, describe(u), err)
	}
	return v, nil
}

func openURL(ctx context.Context, u *url.URL) (*Value, error) {
	variable, err := runtimevar.DefaultURLMux().OpenVariableURL(ctx, u)
	if err != nil {
		if u.Scheme == "constant" {
			return nil, errors.New("the URL is not valid") // the driver's error quotes the URL, and so the value
		}
		return nil, err
	}
	first, err := variable.Watch(ctx)
	if err == nil && text(first) == "" {
		err = ErrMissing
	}
	if err != nil {
		return nil, errors.Join(err, variable.Close())
	}
	watchCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	v := &Value{variable: variable, stop: stop}
	v.store(text(first), first.UpdateTime)
	v.watching.Go(func() { v.watch(watchCtx) })
	return v, nil
}

// watch ends with Close. A read that fails, and an empty value (the moment between a file's truncation and its
// rewriting), leave the last good value in place: the source of the secret being away does not revoke it.
func (v *Value) watch(ctx context.Context) {
	for {
		snapshot, err := v.variable.Watch(ctx)
		if ctx.Err() != nil || errors.Is(err, runtimevar.ErrClosed) {
			return
		}
		if err != nil || text(snapshot) == "" {
			continue // Watch blocks until the state changes again
		}
		v.store(text(snapshot), snapshot.UpdateTime)
	}
}

func (v *Value) store(value string, since time.Time) {
	v.current.Store(&version{value: value, since: since})
}

// Get returns the newest value.
func (v *Value) Get() string { return v.current.Load().value }

// ChangedAt returns when the present value was first seen by this process, or when its source says that it changed.
func (v *Value) ChangedAt() time.Time { return v.current.Load().since }

// Close stops watching and waits for the watcher to end. Get goes on answering with the last value.
func (v *Value) Close() error {
	v.close.Do(func() {
		if v.variable == nil {
			return
		}
		v.stop()
		v.watching.Wait()
		v.closeErr = v.variable.Close()
	})
	return v.closeErr
}

// text returns a snapshot as a string without the newline that editors and `echo` leave at a file's end. The value
// is bytes unless the URL asks for decoder=string.
func text(snapshot runtimevar.Snapshot) string {
	switch value := snapshot.Value.(type) {
	case string:
		return strings.TrimRight(value, "\r\n")
	case []byte:
		return string(bytes.TrimRight(value, "\r\n"))
	default: // another decoder was asked for, or the variable has no value
		return ""
	}
}

// describe names a reference in an error: without its query, in which constant:// carries the value.
func describe(u *url.URL) string {
	return u.Scheme + "://" + u.Host + u.Path
}
