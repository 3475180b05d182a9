package salesloft_test

import (
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/salesloft"
)

func TestRefusedRequestsAreLoggedWithoutPersonalData(t *testing.T) {
	t.Parallel()
	base, httpClient := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"errors":{"callback_url":["is no address: https://hooks.example/s3cret"],"ids":["are wrong"]}}`)
	}))
	logger, text := logText()
	client, err := salesloft.New(salesloft.Config{BaseURL: base + "/v2", APIKey: constant(apiKey)}, logger, httpClient)
	require.NoError(t, err)

	_, err = client.CreateSubscription(t.Context(), "person_updated", "https://hooks.example/s3cret", "callback-token")
	var refused *salesloft.ValidationError
	require.ErrorAs(t, err, &refused)
	require.Len(t, refused.Fields, 2)
	for _, part := range []string{
		"level=WARN", "method=POST", "path=/v2/webhook_subscriptions", `fields="[callback_url ids]"`,
		`payload="map[callback_token:[masked] callback_url:[masked] event_type:person_updated]"`,
	} {
		require.Contains(t, text.String(), part)
	}
	_, err = client.People(t.Context(), salesloft.Query{IDs: []int64{471147114711}, PerPage: 7, SortBy: "shoe_size"})
	require.ErrorAs(t, err, &refused)
	require.Contains(t, text.String(), "ids[]:[[masked]] per_page:[7] sort_by:[shoe_size]")
	for _, secret := range []string{"s3cret", "callback-token", "471147114711", apiKey} {
		require.NotContains(t, text.String()+err.Error(), secret)
	}
}

func TestPrintedSubscriptionHidesItsToken(t *testing.T) {
	t.Parallel()
	logger, text := logText()
	subscription := salesloft.Subscription{ID: 7, EventType: "person_updated", CallbackToken: "s3cret"}
	logger.Info("x", "subscription", subscription, slog.Group("g", "list", []salesloft.Subscription{subscription}))
	logger.Info("y", "pointer", &subscription)
	require.Contains(t, text.String(), "webhook subscription 7")
	require.NotContains(t, text.String(), "s3cret")
}
