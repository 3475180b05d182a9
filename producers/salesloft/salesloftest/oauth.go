package salesloftest

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// tokens is the authorisation server: one application, one chain of refresh tokens of which the newest alone is good.
type tokens struct {
	cfg Config

	mu      sync.Mutex // guards what follows
	refresh string
	used    map[string]bool      // refresh tokens that were good
	access  map[string]time.Time // token → expiry
	issued  int
	values  []string // of all tokens that were issued, for those who look for them where they should not be
}

func newTokens(cfg Config) *tokens {
	return &tokens{cfg: cfg, refresh: cfg.RefreshToken, used: map[string]bool{}, access: map[string]time.Time{}}
}

const invalidToken = "Invalid Bearer Token"

// unwelcome says what is wrong with a token, nothing if it is good.
func (t *tokens) unwelcome(bearer string) string {
	if slices.Contains(t.cfg.APIKeys, bearer) {
		return ""
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	expiry, known := t.access[bearer]
	switch {
	case known && t.cfg.Now().Before(expiry):
		return ""
	case known && t.cfg.SayExpired:
		return "The access token expired"
	}
	return invalidToken
}

func (t *tokens) expireAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for token := range t.access {
		t.access[token] = time.Time{}
	}
}

func (t *tokens) setRefresh(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refresh = token
}

func (t *tokens) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.issued
}

func (t *tokens) all() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.values)
}

func (t *tokens) serve(w http.ResponseWriter, r *http.Request) {
	var form struct {
		GrantType    string `json:"grant_type"`
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		RefreshToken string `json:"refresh_token"`
	}
	if err := json.NewDecoder(r.Body).Decode(&form); err != nil {
		tokenError(w, http.StatusBadRequest, "invalid_request", "The body is no JSON object.")
		return
	}
	if t.cfg.ClientID == "" || form.ClientID != t.cfg.ClientID || form.ClientSecret != t.cfg.ClientSecret {
		tokenError(w, http.StatusUnauthorized, "invalid_client", "Client authentication failed.")
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	answer := map[string]any{}
	switch form.GrantType {
	case "refresh_token":
		if t.refresh == "" || form.RefreshToken != t.refresh {
			if t.cfg.ReuseRevokes && t.used[form.RefreshToken] {
				t.refresh = ""
				clear(t.access)
			}
			tokenError(w, t.cfg.InvalidGrantStatus, "invalid_grant", "The refresh token is invalid, expired or revoked.")
			return
		}
		t.used[t.refresh] = true
		t.refresh = rand.Text()
		t.values = append(t.values, t.refresh)
		answer["refresh_token"] = t.refresh
	case "client_credentials":
	default:
		tokenError(w, http.StatusBadRequest, "unsupported_grant_type", "The grant type is not supported.")
		return
	}
	now := t.cfg.Now()
	access := rand.Text()
	t.access[access] = now.Add(t.cfg.TokenTTL)
	t.values = append(t.values, access)
	t.issued++
	answer["access_token"], answer["token_type"] = access, "bearer"
	answer["expires_in"], answer["created_at"] = int(t.cfg.TokenTTL.Seconds()), now.Unix()
	answer["scope"] = strings.Join(t.cfg.Scopes, " ")
	writeJSON(w, http.StatusOK, answer)
}

func tokenError(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, map[string]string{"error": code, "error_description": description})
}
