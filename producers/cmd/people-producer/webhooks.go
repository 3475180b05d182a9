package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/google/uuid"

	"github.com/revstream/revstream/pipeline/daemon"
	"github.com/revstream/revstream/pipeline/kafkaclient"
	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/pipeline/secret"
	"github.com/revstream/revstream/producers/people"
	"github.com/revstream/revstream/producers/people/connect"
	"github.com/revstream/revstream/producers/salesloft"
	"github.com/revstream/revstream/producers/state"
)

type webhooksCommand struct {
	Salesloft connect.Config     `embed:""`
	Kafka     kafkaclient.Config `embed:""`
	Settings  webhookSettings    `embed:""`

	Sync   syncCommand   `cmd:"" help:"Subscribe the callback URL to person events: create what is missing, replace what is disabled or signed with another token."`
	List   listCommand   `cmd:"" help:"List all subscriptions, without their tokens."`
	Delete deleteCommand `cmd:"" help:"Delete subscriptions."`
}

type syncCommand struct {
	Prune   bool `name:"prune" help:"Delete the subscriptions to person events of other callback URLs too."`
	Replace bool `name:"replace" help:"Replace subscriptions of which Salesloft does not tell what token they are signed with."`
}

type listCommand struct {
	JSON bool `name:"json" help:"One JSON object per subscription and line."`
}

type deleteCommand struct {
	IDs []int64 `arg:"" optional:"" name:"id" help:"IDs of subscriptions, as list prints them."`
	All bool    `name:"all" help:"All of the callback URL's to person events, instead of IDs."`
}

// AfterApply keeps a command from serving metrics where the producer does, by whose side it may run.
func (*webhooksCommand) AfterApply(cfg *daemon.Config) error { //nolint:unparam // kong wants it so
	cfg.HTTPAddr = ""
	return nil
}

func (c *webhooksCommand) run(ctx context.Context, rt *daemon.Runtime, command string) error {
	if err := connect.Validate(c.Salesloft); err != nil {
		return err
	}
	ctx = resilience.WithCorrelationID(ctx, uuid.NewString())
	source, err := connect.Open(ctx, c.Salesloft, rt)
	if err != nil {
		return err
	}
	if c.Salesloft.SharesGrant() {
		kafka, err := openKafka(c.Kafka, rt)
		if err != nil {
			return fmt.Errorf("Salesloft's grant is kept in the producer's state: %w", err)
		}
		store, err := state.Open(ctx, kafka, name)
		if err != nil {
			return err
		}
		source.Keep(store)
	}
	switch command {
	case "sync":
		return c.sync(ctx, source.Client, os.Stdout)
	case "list":
		return c.List.print(ctx, source.Client, os.Stdout)
	default:
		return c.delete(ctx, source.Client, os.Stdout)
	}
}

func (c *webhooksCommand) sync(ctx context.Context, source people.Subscriber, out io.Writer) error {
	if err := c.needCallbackURL(); err != nil {
		return err
	}
	token, err := secret.Read(ctx, "SALESLOFT_WEBHOOK_SECRET", c.Settings.Secret)
	if err != nil {
		return err
	}
	done, err := people.SyncSubscriptions(ctx, source, people.SubscriptionOrder{
		CallbackURL: c.Settings.CallbackURL, Token: token, Replace: c.Sync.Replace, Prune: c.Sync.Prune,
	})
	report(out, done)
	if err == nil && len(done.Created)+len(done.Deleted) == 0 {
		fmt.Fprintln(out, "nothing to do")
	}
	return err
}

func (c *webhooksCommand) needCallbackURL() error {
	if c.Settings.CallbackURL == "" {
		return errors.New("SALESLOFT_WEBHOOK_CALLBACK_URL is required (or --webhook-callback-url)")
	}
	return nil
}

func report(out io.Writer, done people.SubscriptionChanges) {
	for _, s := range done.Created {
		fmt.Fprintf(out, "created %d: %s to %s\n", s.ID, s.EventType, s.CallbackURL)
	}
	for _, s := range done.Deleted {
		fmt.Fprintf(out, "deleted %d: %s to %s\n", s.ID, s.EventType, s.CallbackURL)
	}
}

func (c *webhooksCommand) delete(ctx context.Context, source people.Subscriber, out io.Writer) error {
	if (len(c.Delete.IDs) > 0) == c.Delete.All {
		return errors.New("name the IDs of subscriptions, or all of the callback URL's with --all")
	}
	if c.Delete.All {
		if err := c.needCallbackURL(); err != nil {
			return err
		}
	}
	chosen, err := people.SubscriptionsOf(ctx, source, c.Settings.CallbackURL, c.Delete.IDs)
	if err != nil {
		return err
	}
	var done people.SubscriptionChanges
	err = people.DeleteSubscriptions(ctx, source, chosen, &done)
	report(out, done)
	return err
}

// subscription is one as JSON.
type subscription struct {
	ID          int64  `json:"id"`
	EventType   string `json:"event_type"`
	CallbackURL string `json:"callback_url"`
	Enabled     bool   `json:"enabled"`
	TenantID    string `json:"tenant_id,omitempty"`
}

func (c *listCommand) print(ctx context.Context, source people.Subscriber, out io.Writer) error {
	all, err := source.Subscriptions(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out, all)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tEVENT\tENABLED\tCALLBACK URL")
	for _, s := range all {
		fmt.Fprintf(w, "%d\t%s\t%t\t%s\n", s.ID, s.EventType, s.Enabled, s.CallbackURL)
	}
	return w.Flush() // which tells of the writes before
}

func printJSON(out io.Writer, all []salesloft.Subscription) error {
	enc := json.NewEncoder(out)
	for _, s := range all {
		if err := enc.Encode(subscription{s.ID, s.EventType, s.CallbackURL, s.Enabled, s.TenantID}); err != nil {
			return err
		}
	}
	return nil
}
