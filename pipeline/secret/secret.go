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
	"os"
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

// renewTimeout bounds one reading anew of a secret that was refused.
const renewTimeout = 10 * time.Second

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
	current atomic.Pointer[version]
	writing sync.Mutex // held by store, which watch and Renew call

	url     *url.URL      // nil for a plain value
	reading chan struct{} // holds an element while Renew reads
	readAt  time.Time     // when the last reading of Renew began that brought a value; guarded by reading

	variable *runtimevar.Variable // nil for a plain value
	stop     context.CancelFunc
	watching sync.WaitGroup
	close    sync.Once
	closeErr error
}

type version struct {
	value  string
	since  time.Time // when the source says that it changed, or else when it was first seen
	seen   time.Time
	before string // the value that it replaced; "" for the first
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
	variable, first, err := open(ctx, u)
	if err != nil {
		return nil, err
	}
	watchCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	v := &Value{url: u, reading: make(chan struct{}, 1), variable: variable, stop: stop}
	v.store(text(first), changedAt(u, first))
	v.watching.Go(func() { v.watch(watchCtx) })
	return v, nil
}

// open reads the secret behind u, which is not empty then. The caller closes the variable.
func open(ctx context.Context, u *url.URL) (*runtimevar.Variable, runtimevar.Snapshot, error) {
	variable, err := runtimevar.DefaultURLMux().OpenVariableURL(ctx, u)
	if err != nil {
		if u.Scheme == "constant" {
			err = errors.New("the URL is not valid") // the driver's error quotes the URL, and so the value
		}
		return nil, runtimevar.Snapshot{}, err
	}
	first, err := variable.Watch(ctx)
	if err == nil && text(first) == "" {
		err = ErrMissing
	}
	if err != nil {
		return nil, runtimevar.Snapshot{}, errors.Join(err, variable.Close())
	}
	return variable, first, nil
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
		v.store(text(snapshot), changedAt(v.url, snapshot))
	}
}

// store takes a value in. One that is there already, as watch and Renew have both seen it, replaces nothing: the value
// before it must go on being accepted.
func (v *Value) store(value string, since time.Time) {
	v.writing.Lock()
	defer v.writing.Unlock()
	next := &version{value: value, since: since, seen: time.Now()}
	if last := v.current.Load(); last != nil {
		if last.value == value {
			return
		}
		next.before = last.value
	}
	v.current.Store(next)
}

// Get returns the newest value.
func (v *Value) Get() string { return v.current.Load().value }

// Accepted returns what a caller may present while the secret rotates: the present value, and after it the one that it
// replaced if that was less than overlap ago.
func (v *Value) Accepted(overlap time.Duration) []string {
	present := v.current.Load()
	if present.before == "" || time.Since(present.seen) >= overlap {
		return []string{present.value}
	}
	return []string{present.value, present.before}
}

// Renew returns another value than refused, for a request to be repeated with. A rotation may be refused before it is
// noticed here (a secret manager is asked every 30 s), so the source is read anew, once for all who ask at the same
// time and for at most renewTimeout. Renew returns refused itself if the source has nothing else or cannot be read.
func (v *Value) Renew(ctx context.Context, refused string) string {
	if value := v.Get(); value != refused || v.url == nil {
		return value
	}
	asked := time.Now()
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	select {
	case v.reading <- struct{}{}:
		defer func() { <-v.reading }()
	case <-ctx.Done():
		return v.Get()
	}
	// A reading that began after this call did has seen what this one would. One that began before may not have.
	if v.Get() == refused && v.readAt.Before(asked) {
		begun := time.Now()
		if err := v.read(ctx); err == nil { // else the next who waits tries: it may have the patience for it
			v.readAt = begun
		}
	}
	return v.Get()
}

// read takes the source's value in.
func (v *Value) read(ctx context.Context) error {
	variable, snapshot, err := open(ctx, v.url)
	if err != nil {
		return err
	}
	v.store(text(snapshot), changedAt(v.url, snapshot))
	return variable.Close()
}

// ChangedAt returns when the present value came to be: a file's modification, a secret manager's version; of a plain
// value, when this process first saw it.
func (v *Value) ChangedAt() time.Time { return v.current.Load().since }

// changedAt does not take a file's driver at its word, which calls the time of reading the time of the change.
func changedAt(u *url.URL, snapshot runtimevar.Snapshot) time.Time {
	if u.Scheme != "file" {
		return snapshot.UpdateTime
	}
	path := u.Path
	if u.Host == "." { // the driver's way to write a relative path
		path = strings.TrimPrefix(path, "/")
	}
	info, err := os.Stat(path)
	if err != nil { // replaced this moment: the driver has read it just now
		return snapshot.UpdateTime
	}
	return info.ModTime()
}

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
