package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/people"
)

func TestCredentialsAreNamedByTheirVariables(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settings settings
		want     string
	}{
		"none":          {settings{}, "set SALESLOFT_API_KEY, or SALESLOFT_CLIENT_ID and SALESLOFT_CLIENT_SECRET"},
		"both":          {settings{Salesloft: salesloftSettings{APIKey: "k", ClientID: "c"}}, "unset the one or the others"},
		"ID alone":      {settings{Salesloft: salesloftSettings{ClientID: "c"}}, "one of them is not set"},
		"refresh alone": {settings{Salesloft: salesloftSettings{RefreshToken: "r"}}, "one of them is not set"},
		"callback without secret": {settings{Salesloft: salesloftSettings{APIKey: "k"}, CallbackURL: "http://x"},
			"SALESLOFT_WEBHOOK_SECRET (or SALESLOFT_WEBHOOK_SECRET_FILE) is required"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, c.settings.validate(), c.want)
		})
	}
	polling := people.Config{Interval: time.Minute}
	ok := settings{Salesloft: salesloftSettings{ClientID: "c", ClientSecret: "s", RefreshToken: "r"}, Polling: polling}
	require.NoError(t, ok.validate())
	require.NoError(t, (&settings{Salesloft: salesloftSettings{APIKey: "k"}, Polling: polling}).validate())

	wrong := settings{WebhookSecret: "s", Receiver: people.ReceiverConfig{Algorithm: "md5"}}
	for _, want := range []string{"SALESLOFT_API_KEY", "POLL_INTERVAL", "WEBHOOK_ALGORITHM", "WEBHOOK_ACK_TIMEOUT"} {
		require.ErrorContains(t, wrong.validate(), want)
	}
}
