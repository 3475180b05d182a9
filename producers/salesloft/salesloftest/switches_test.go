package salesloftest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/producers/salesloft/salesloftest"
)

func TestCreatedAtCanBeIgnored(t *testing.T) {
	t.Parallel()
	for ignored, want := range map[bool]int{false: 0, true: 30} {
		s := start(t, salesloftest.Config{Seed: 1, People: 30, IgnoreCreatedAt: ignored})
		require.Len(t, s.list("per_page=100&created_at[gte]=2035-01-01T00:00:00Z").Data, want)
	}
}

func TestIDsAreFoundWithinTheOtherFilters(t *testing.T) {
	t.Parallel()
	s := start(t, salesloftest.Config{Seed: 1, People: 30})
	all := s.list("per_page=100&sort_direction=ASC").stamps(t)
	query := fmt.Sprintf("sort_direction=ASC&ids[]=%d&ids[]=%d&ids[]=7&updated_at[gte]=%s", all[20].ID, all[9].ID,
		all[9].UpdatedAt.UTC().Format("2006-01-02T15:04:05.000000Z"))
	require.Equal(t, []stamps{all[9], all[20]}, s.list(query).stamps(t), "in the order of the list")
	require.Len(t, s.list(query+"&updated_at[lt]="+all[20].UpdatedAt.UTC().Format("2006-01-02T15:04:05.000000Z")).Data, 1)
}

func TestRefreshTokenUsedTwice(t *testing.T) {
	t.Parallel()
	type grant struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	for _, revokes := range []bool{false, true} {
		s := start(t, salesloftest.Config{ClientID: "c", ClientSecret: "s", RefreshToken: "r0", ReuseRevokes: revokes})
		refresh := func(token string) (status int, g grant) {
			got := s.do(http.MethodPost, "/oauth/token", map[string]string{
				"grant_type": "refresh_token", "client_id": "c", "client_secret": "s", "refresh_token": token,
			})
			require.NoError(t, json.Unmarshal(got.body, &g))
			return got.status, g
		}
		_, first := refresh("r0")
		status, _ := refresh("never there")
		require.Equal(t, http.StatusBadRequest, status)
		status, _ = refresh("r0")
		require.Equal(t, http.StatusBadRequest, status)
		status, second := refresh(first.Refresh)
		if !revokes {
			require.Equal(t, http.StatusOK, status)
			require.Equal(t, http.StatusOK, s.as(second.Access).status)
			continue
		}
		require.Equal(t, http.StatusBadRequest, status, "the newest goes with it")
		require.Equal(t, http.StatusUnauthorized, s.as(first.Access).status)
		s.AuthoriseAgain("r1")
		status, _ = refresh("r1")
		require.Equal(t, http.StatusOK, status)
	}
}

// as asks who a token belongs to.
func (s server) as(token string) answer {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.base+"/v2/me", nil)
	require.NoError(s.t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := s.http.Do(request)
	require.NoError(s.t, err)
	defer response.Body.Close()
	var body json.RawMessage
	require.NoError(s.t, json.NewDecoder(response.Body).Decode(&body))
	return answer{status: response.StatusCode, body: body}
}

func TestExpiredTokenSaysSo(t *testing.T) {
	t.Parallel()
	for says, want := range map[bool]string{false: "Invalid Bearer Token", true: "expired"} {
		now := time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
		s := start(t, salesloftest.Config{ClientID: "c", ClientSecret: "s", SayExpired: says, Now: func() time.Time { return now }})
		var grant struct {
			Access string `json:"access_token"`
		}
		answer := s.do(http.MethodPost, "/oauth/token", map[string]string{"grant_type": "client_credentials", "client_id": "c", "client_secret": "s"})
		require.NoError(t, json.Unmarshal(answer.body, &grant))
		require.Equal(t, http.StatusOK, s.as(grant.Access).status)
		s.ExpireTokens()
		require.Contains(t, string(s.as(grant.Access).body), want)
		require.Contains(t, string(s.as("never issued").body), "Invalid Bearer Token")
	}
}

func TestCallbackTokensCanBeHidden(t *testing.T) {
	t.Parallel()
	for _, hidden := range []bool{false, true} {
		s := start(t, salesloftest.Config{HideCallbackTokens: hidden})
		created := s.do(http.MethodPost, "/v2/webhook_subscriptions", map[string]string{
			"callback_url": "http://127.0.0.1:1/", "callback_token": "t0ken", "event_type": "person_updated",
		})
		require.Contains(t, string(created.body), "t0ken")
		list := string(s.do(http.MethodGet, "/v2/webhook_subscriptions", nil).body)
		require.Contains(t, list, "person_updated")
		if hidden {
			require.NotContains(t, list, "callback_token")
		} else {
			require.Contains(t, list, "t0ken")
		}
	}
}
