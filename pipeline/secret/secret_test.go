package secret_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"gocloud.dev/runtimevar"

	"github.com/revstream/revstream/pipeline/secret"
)

func TestMain(m *testing.M) {
	runtimevar.DefaultURLMux().RegisterVariable("manager", opener{})
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, ref secret.Ref) *secret.Value {
	t.Helper()
	v, err := secret.Open(t.Context(), "API_KEY", ref)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	return v
}

func write(t *testing.T, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

func TestOpenResolvesEveryForm(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key with space")
	write(t, file, "from file\r\n")
	dsn := "http://user:pass@localhost:8123/revenue?wait=1" // a value that looks like a URL
	for ref, want := range map[secret.Ref]string{
		"plain":                           "plain",
		secret.Ref(dsn):                   dsn,
		"constant://?val=c&decoder=bytes": "c",
		secret.Ref("file://" + filepath.Dir(file) + "/key%20with%20space"):                "from file",
		secret.Ref("file://" + filepath.Dir(file) + "/key%20with%20space?decoder=string"): "from file",
	} {
		require.Equal(t, want, open(t, ref).Get())
	}
}

// A mounted secret is rotated by renaming (Kubernetes, Vault agent) or by writing in place, which first truncates.
func TestFileRotates(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	write(t, path, "one\n")
	v := open(t, secret.Ref("file://"+path))
	first := v.ChangedAt()

	write(t, path, "two\n")
	require.Eventually(t, func() bool { return v.Get() == "two" }, 5*time.Second, time.Millisecond)
	require.True(t, v.ChangedAt().After(first))

	write(t, path+".new", "three\n")
	require.NoError(t, os.Rename(path+".new", path))
	require.Eventually(t, func() bool { return v.Get() == "three" }, 5*time.Second, time.Millisecond)

	// Away, and then another: the last good value serves until the new one is there.
	require.NoError(t, os.Remove(path))
	write(t, path+".new", "four\n")
	require.Equal(t, "three", v.Get())
	require.NoError(t, os.Rename(path+".new", path))
	require.Eventually(t, func() bool { return v.Get() == "four" }, 10*time.Second, time.Millisecond)
}

// Kubernetes swaps a symlink two levels above the file, and removes the old directory.
func TestMountedSecretRotates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, value := range map[string]string{"v1": "one", "v2": "two"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o700))
		write(t, filepath.Join(dir, name, "key"), value)
	}
	require.NoError(t, os.Symlink("v1", filepath.Join(dir, "..data")))
	require.NoError(t, os.Symlink(filepath.Join("..data", "key"), filepath.Join(dir, "key")))
	v := open(t, secret.Ref("file://"+filepath.Join(dir, "key")))
	require.Equal(t, "one", v.Get())

	require.NoError(t, os.Symlink("v2", filepath.Join(dir, "..data_tmp")))
	require.NoError(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "v1")))
	require.Eventually(t, func() bool { return v.Get() == "two" }, 5*time.Second, time.Millisecond)
}

// The empty file between truncation and writing is not a value. The driver does not tell when it has seen the file,
// so this watches for as long as it takes an unguarded value to show.
func TestEmptiedFileKeepsTheLastValue(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	write(t, path, "one")
	v := open(t, secret.Ref("file://"+path))
	write(t, path, "")
	require.Never(t, func() bool { return v.Get() != "one" }, 200*time.Millisecond, time.Millisecond)
	write(t, path, "two")
	require.Eventually(t, func() bool { return v.Get() == "two" }, 5*time.Second, time.Millisecond)
}

func TestOpenErrorsNameTheVariableAndHideTheValue(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	write(t, empty, "\n")
	for _, test := range []struct {
		name string
		ref  secret.Ref
		want string
	}{
		{"nothing", "", "API_KEY_FILE"},
		{"no such file", "file:///no/such/file", "/no/such/file"},
		{"empty file", secret.Ref("file://" + empty), empty},
		{"unknown option", "constant://?val=hunter2&option=1", "constant://"},
		{"not a URL", "constant://%zz?val=hunter2", "not a valid URL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := secret.Open(ctx, "API_KEY", test.ref)
			require.ErrorContains(t, err, "API_KEY")
			require.ErrorContains(t, err, test.want)
			require.NotContains(t, err.Error(), "hunter2")
			require.NoError(t, ctx.Err(), "a wrong reference must fail at once")
		})
	}
}

func TestMissingIsErrMissing(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty")
	write(t, empty, "\n")
	for _, ref := range []secret.Ref{"", secret.Ref("file://" + empty)} {
		_, err := secret.Open(t.Context(), "API_KEY", ref)
		require.ErrorIs(t, err, secret.ErrMissing)
	}
}

func TestCloseKeepsTheLastValue(t *testing.T) {
	t.Parallel()
	v := open(t, "constant://?val=kept&decoder=string")
	require.NoError(t, v.Close())
	require.NoError(t, v.Close())
	require.Equal(t, "kept", v.Get())
}

func TestRefRedactsHoweverItIsPrinted(t *testing.T) {
	t.Parallel()
	settings := struct{ Key secret.Ref }{Key: "hunter2"}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&out, verb+"\n", settings)
		fmt.Fprintf(&out, verb+"\n", settings.Key)
	}
	require.NoError(t, json.NewEncoder(&out).Encode(settings))
	slog.New(slog.NewTextHandler(&out, nil)).Info("settings", "all", settings, "key", settings.Key)
	require.NotContains(t, out.String(), "hunter2")
	require.Contains(t, out.String(), "[redacted]")
}
