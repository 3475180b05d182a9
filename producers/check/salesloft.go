package check

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/producers/salesloft"
)

const (
	salesloftName       = "Salesloft API"
	salesloftAccessName = "Salesloft Credentials"
	subscriptionsName   = "Scope webhook_subscriptions"
)

// SalesloftConfig is what the people producer needs of Salesloft.
type SalesloftConfig struct {
	Needs   []string // checks that the settings are there
	BaseURL string
	HTTP    *http.Client
	// Open makes the client, which the caller closes. With a refresh token that reads the producer's state.
	Open func(ctx context.Context) (*salesloft.Client, error)
	// What deliveries are subscribed with.
	EventTypes    []string
	CallbackURL   string
	WebhookSecret secret.Ref
}

// Salesloft checks the API, the credentials and their scopes, what is left of the budget, and the webhooks.
func Salesloft(cfg SalesloftConfig) []Check {
	c := &salesloftChecks{cfg: cfg}
	return []Check{
		{Name: salesloftName, Run: func(ctx context.Context) Result {
			return reach(ctx, cfg.HTTP, strings.TrimRight(cfg.BaseURL, "/")+"/me", "SALESLOFT_BASE_URL")
		}},
		{Name: salesloftAccessName, Needs: append([]string{salesloftName}, cfg.Needs...), Run: c.access},
		{Name: "Salesloft Budget", Needs: []string{salesloftAccessName}, Run: c.budget},
		{Name: "Scope people:read", Needs: []string{salesloftAccessName}, Run: c.people},
		{Name: subscriptionsName, Needs: []string{salesloftAccessName}, Run: c.subscriptions},
		{Name: "Webhook Receiver", Run: c.receiver},
		{Name: "Webhooks Subscribed", Needs: []string{subscriptionsName}, Run: c.subscribed},
	}
}

// salesloftChecks is what the checks know of each other; they run one after the other.
type salesloftChecks struct {
	cfg    SalesloftConfig
	client *salesloft.Client
	me     salesloft.Me
	subs   []salesloft.Subscription
}

func (c *salesloftChecks) access(ctx context.Context) Result {
	var err error
	if c.client, err = c.cfg.Open(ctx); err != nil {
		return failed("set it right", "%v", err)
	}
	c.me, err = c.client.Me(ctx)
	answer, _ := errors.AsType[*salesloft.APIError](err)
	switch {
	case err == nil && !c.me.Active:
		return failed("activate the user in Salesloft", "VALID, but their user is not active")
	case err == nil:
		return passed("Valid%s", c.scopes())
	case errors.Is(err, salesloft.ErrInvalidGrant):
		return failed("authorise the application again and set SALESLOFT_REFRESH_TOKEN to the new token", "EXPIRED OR REVOKED: the refresh token is refused")
	case errors.Is(err, salesloft.ErrUnauthorized) && answer != nil && expired(answer.Message):
		return failed("make a new key in Salesloft and set SALESLOFT_API_KEY to it", "EXPIRED: %v", answer)
	case errors.Is(err, salesloft.ErrUnauthorized):
		return failed("set SALESLOFT_API_KEY, or SALESLOFT_CLIENT_ID and SALESLOFT_CLIENT_SECRET, to what Salesloft shows", "REFUSED: wrong or revoked: %v", err)
	case errors.Is(err, salesloft.ErrForbidden):
		return failed("let a Salesloft administrator grant the application its scopes", "VALID, BUT LACKS PERMISSION: %v", err)
	case errors.Is(err, salesloft.ErrRateLimited):
		return failed("run the check again in a minute", "UNKNOWN: the team's budget is used up")
	}
	return failed("run the check again; if it stays, ask Salesloft's support", "UNKNOWN: %v", err)
}

// scopes names what the token's issuer has said of it.
func (c *salesloftChecks) scopes() string {
	if scopes := c.client.Scopes(); len(scopes) > 0 {
		return "; granted: " + strings.Join(scopes, ", ")
	}
	return ""
}

func (c *salesloftChecks) budget(context.Context) Result {
	switch left := c.me.RateLimit.Remaining; {
	case left < 0:
		return warned("UNVERIFIED: the answer does not say how many points are left")
	case left < 100:
		return warned("%d points left this minute: the team's other integrations take nearly all", left)
	default:
		return passed("%d points left this minute", left)
	}
}

func (c *salesloftChecks) people(ctx context.Context) Result {
	_, err := c.client.People(ctx, salesloft.Query{Page: 1, PerPage: 1})
	return scope("people:read", err)
}

func (c *salesloftChecks) subscriptions(ctx context.Context) Result {
	var err error
	c.subs, err = c.client.Subscriptions(ctx)
	found := scope("webhook_subscriptions", err)
	if found.Status == Fail && c.cfg.CallbackURL == "" {
		found.Status = Warn // nobody has asked for webhooks
	}
	return found
}

func scope(name string, err error) Result {
	switch {
	case err == nil:
		return passed("Granted")
	case errors.Is(err, salesloft.ErrForbidden):
		return failed("grant the application the scope "+name+", and authorise it again", "LACKS PERMISSION: %v", err)
	}
	return failed("run the check again", "UNKNOWN: %v", err)
}

func (c *salesloftChecks) receiver(context.Context) Result {
	if c.cfg.WebhookSecret == "" {
		return warned("OFF: SALESLOFT_WEBHOOK_SECRET is not set; changes come by polling alone")
	}
	return passed("On: SALESLOFT_WEBHOOK_SECRET is set")
}

func (c *salesloftChecks) subscribed(ctx context.Context) Result {
	const way = "run `people-producer webhooks sync`"
	if c.cfg.CallbackURL == "" {
		return warned("UNVERIFIED: SALESLOFT_WEBHOOK_CALLBACK_URL is not set; the team has %d subscriptions", len(c.subs))
	}
	token := ""
	if c.cfg.WebhookSecret != "" {
		var err error
		if token, err = secret.Read(ctx, "SALESLOFT_WEBHOOK_SECRET", c.cfg.WebhookSecret); err != nil {
			return failed("set it right", "%v", err)
		}
	}
	var problems []string
	for _, eventType := range c.cfg.EventTypes {
		if problem := c.missing(eventType, token); problem != "" {
			problems = append(problems, problem)
		}
	}
	if len(problems) > 0 {
		return warned("%s: the producer mends it when it starts, or %s", strings.Join(problems, "; "), way)
	}
	return passed("%s", strings.Join(c.cfg.EventTypes, ", "))
}

// missing says what keeps deliveries of an event type from coming, or "". One good subscription is enough.
func (c *salesloftChecks) missing(eventType, token string) string {
	problem := eventType + " is not subscribed"
	for _, s := range c.subs {
		switch {
		case s.EventType != eventType || s.CallbackURL != c.cfg.CallbackURL:
			continue
		case !s.Enabled:
			problem = eventType + " is disabled"
		case s.CallbackToken != "" && token != "" && s.CallbackToken != token:
			problem = eventType + " is signed with another secret"
		default:
			return ""
		}
	}
	return problem
}
