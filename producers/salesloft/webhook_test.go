package salesloft_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

func TestVerifySignature(t *testing.T) {
	t.Parallel()
	const (
		secret = "s3cr3t-callback-token"
		sha1   = "e90c785604bd0dca9b2b172fd8bc46fa97d1aaf0"
	)
	body := []byte(`{"id":436664215,"email_address":"a@example.com"}`)
	for _, good := range []string{sha1, strings.ToUpper(sha1), " " + sha1, "sha1=" + sha1} {
		require.NoError(t, salesloft.VerifySignature(salesloft.SHA1, secret, body, good))
	}
	for _, bad := range []string{"", "sha1=", "zz", sha1[:38], sha1 + "00", "sha256=" + sha1} {
		require.ErrorIs(t, salesloft.VerifySignature(salesloft.SHA1, secret, body, bad), salesloft.ErrSignature, bad)
	}
	require.ErrorIs(t, salesloft.VerifySignature(salesloft.SHA1, "other", body, sha1), salesloft.ErrSignature)
	require.ErrorIs(t, salesloft.VerifySignature(salesloft.SHA1, secret, body[1:], sha1), salesloft.ErrSignature)
	require.ErrorIs(t, salesloft.VerifySignature("md5", secret, body, sha1), salesloft.ErrSignature)
	require.ErrorIs(t, salesloft.VerifySignature(salesloft.SHA256, secret, body, sha1), salesloft.ErrSignature)

	// HMAC-SHA-256 of RFC 4231, test case 2.
	const vector = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
	for _, good := range []string{vector, "sha256=" + vector, "SHA256=" + strings.ToUpper(vector)} {
		require.NoError(t, salesloft.VerifySignature(salesloft.SHA256, "Jefe", []byte("what do ya want for nothing?"), good))
	}
	require.ErrorIs(t, salesloft.VerifySignature(salesloft.SHA1, "", nil, "fbdb1d1b18aa6c08324b7d64b71fb76370690e1d"),
		salesloft.ErrSignature, "an empty secret signs what anybody can sign")
}

func TestParseAlgorithm(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]salesloft.Algorithm{"": salesloft.SHA1, "sha1": salesloft.SHA1, "SHA256": salesloft.SHA256} {
		got, err := salesloft.ParseAlgorithm(name)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := salesloft.ParseAlgorithm("md5")
	require.ErrorContains(t, err, `"md5": want "sha1" or "sha256"`)
}

func TestParseWebhook(t *testing.T) {
	t.Parallel()
	for _, body := range []string{minimal + `,"title":"x"}`, `{"data":` + minimal + `,"title":"x"}}`} {
		event, err := salesloft.ParseWebhook("person_updated", []byte(body))
		require.NoError(t, err)
		require.Equal(t, salesloft.PersonUpdated, event.Kind)
		require.Equal(t, event.Person.ID, event.PersonID)
		require.Equal(t, event.Person.UpdatedAt, event.UpdatedAt)
		require.Equal(t, "x", *event.Person.Title)
	}
	deleted, err := salesloft.ParseWebhook("person_deleted", []byte(`{"id":5}`))
	require.NoError(t, err)
	require.Equal(t, salesloft.Event{Kind: salesloft.PersonDeleted, Name: "person_deleted", PersonID: 5}, deleted)
	unknown, err := salesloft.ParseWebhook("cadence_created", []byte(`no JSON`))
	require.NoError(t, err)
	require.Equal(t, salesloft.Event{Name: "cadence_created"}, unknown)
	for _, body := range []string{`{}`, `[]`, `{"data":{}}`, `{"id":-1}`, ``} {
		for _, name := range []string{"person_created", "person_deleted"} {
			_, err := salesloft.ParseWebhook(name, []byte(body))
			var fieldError *salesloft.FieldError
			require.ErrorAs(t, err, &fieldError, body)
		}
	}
}

func TestDeliveriesOfTheSimulatorVerifyAndParse(t *testing.T) {
	t.Parallel()
	events := make(chan salesloft.Event, 3)
	callback, _ := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if salesloft.VerifySignature(salesloft.SHA1, "token", body, r.Header.Get(salesloft.SignatureHeader)) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if event, err := salesloft.ParseWebhook(r.Header.Get(salesloft.EventHeader), body); err == nil {
			events <- event
		}
	}))
	sim := newSim(t, salesloftest.Config{Seed: 1, People: 3})
	client := newClient(t, sim, salesloft.Config{})
	_, err := client.CreateSubscription(t.Context(), "person_updated", callback, "token")
	require.NoError(t, err)
	ids, err := sim.Update(salesloftest.Change{Count: 1})
	require.NoError(t, err)
	select {
	case event := <-events:
		require.Equal(t, ids[0], event.PersonID)
		page, err := client.People(t.Context(), salesloft.Query{IDs: ids})
		require.NoError(t, err)
		require.Equal(t, page.People[0], *event.Person, "a poll and a webhook of one change say the same")
	case <-time.After(10 * time.Second):
		require.Fail(t, "no delivery")
	}
}
