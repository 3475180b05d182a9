// Package stack owns the processes of the whole pipeline on one machine: which there are, how they are started, found again and stopped.
package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/revstream/revstream/deploy/local/ports"
	"github.com/revstream/revstream/deploy/local/registry"
)

// Addrs are where the parts listen.
type Addrs struct {
	Broker           string `name:"broker-addr" env:"BROKER_ADDR" default:"127.0.0.1:9092" help:"Kafka broker." group:"Addresses"`
	Registry         string `name:"registry-addr" env:"REGISTRY_ADDR" default:"127.0.0.1:8081" help:"Schema registry." group:"Addresses"`
	ClickHouse       string `name:"clickhouse-addr" env:"CLICKHOUSE_ADDR" default:"127.0.0.1:8123" help:"ClickHouse's HTTP interface." group:"Addresses"`
	Clari            string `name:"clari-addr" env:"CLARI_ADDR" default:"127.0.0.1:8091" help:"Clari simulator." group:"Addresses"`
	Salesloft        string `name:"salesloft-addr" env:"SALESLOFT_ADDR" default:"127.0.0.1:8092" help:"Salesloft simulator." group:"Addresses"`
	ForecastProducer string `name:"forecast-producer-addr" env:"FORECAST_PRODUCER_ADDR" default:"127.0.0.1:8101" help:"Health and metrics of forecast-producer." group:"Addresses"`
	PeopleProducer   string `name:"people-producer-addr" env:"PEOPLE_PRODUCER_ADDR" default:"127.0.0.1:8102" help:"Health and metrics of people-producer." group:"Addresses"`
	ForecastConsumer string `name:"forecast-consumer-addr" env:"FORECAST_CONSUMER_ADDR" default:"127.0.0.1:8103" help:"Health and metrics of forecast-consumer." group:"Addresses"`
	PeopleConsumer   string `name:"people-consumer-addr" env:"PEOPLE_CONSUMER_ADDR" default:"127.0.0.1:8104" help:"Health and metrics of people-consumer." group:"Addresses"`
	DLQDesk          string `name:"dlq-desk-addr" env:"DLQ_DESK_ADDR" default:"127.0.0.1:8106" help:"Health and metrics of the dead-letter desk." group:"Addresses"`
	WarehouseWatch   string `name:"warehouse-watch-addr" env:"WAREHOUSE_WATCH_ADDR" default:"127.0.0.1:8107" help:"Health and metrics of warehouse watch." group:"Addresses"`
	DeskPage         string `name:"desk-addr" env:"DESK_ADDR" default:"127.0.0.1:8105" help:"Page of the dead-letter desk." group:"Addresses"`
	Webhooks         string `name:"webhook-addr" env:"WEBHOOK_ADDR" default:"127.0.0.1:8112" help:"Webhook receiver of people-producer." group:"Addresses"`
}

// fields lists the addresses, for what is done to all of them.
func (a *Addrs) fields() []*string {
	return []*string{
		&a.Broker, &a.Registry, &a.ClickHouse, &a.Clari, &a.Salesloft,
		&a.ForecastProducer, &a.PeopleProducer, &a.ForecastConsumer, &a.PeopleConsumer, &a.Webhooks, &a.DLQDesk, &a.DeskPage, &a.WarehouseWatch,
	}
}

// validate refuses two parts on one address.
func (a *Addrs) validate() error {
	seen := make(map[string]bool)
	for _, field := range a.fields() {
		if seen[*field] {
			return fmt.Errorf("two parts are to listen on %s: give each an address of its own", *field)
		}
		seen[*field] = true
	}
	return nil
}

// FreeAddrs returns addresses on ports that are free now.
func FreeAddrs(ctx context.Context) (Addrs, error) {
	var a Addrs
	for _, field := range a.fields() {
		addr, err := ports.Free(ctx)
		if err != nil {
			return a, err
		}
		*field = addr
	}
	return a, nil
}

// Sources says what the simulators have.
type Sources struct {
	Seed uint64 `name:"seed" env:"SIM_SEED" default:"1" help:"Seed of the generated data." group:"Simulated data"`
	// People is a number, or the path of a recorded answer.
	People string `name:"people" env:"SIM_PEOPLE" default:"2000" placeholder:"N|FILE" help:"How many people the Salesloft simulator generates, or a file with a recorded answer of GET /v2/people to serve instead." group:"Simulated data"`
	Users  int    `name:"users" env:"SIM_USERS" default:"50" help:"Users in the Clari simulator; each has forecasts in every field, week and quarter." group:"Simulated data"`
	// Drift makes the simulators change their data by themselves.
	Drift bool `name:"drift" env:"SIM_DRIFT" default:"true" negatable:"" help:"Let the simulators change some of their data every few seconds." group:"Simulated data"`
}

// Servers says what takes the place of embedded parts. Java runs it, and
// `make kafka` fetches it.
type Servers struct {
	Kafka    bool `name:"kafka" help:"Run Apache Kafka, three nodes, in place of the embedded broker." group:"Servers"`
	Apicurio bool `name:"apicurio" help:"Run Apicurio Registry in place of the embedded registry." group:"Servers"`
	// Libs is the folder of what `make kafka` has fetched.
	Libs string `name:"libs" default:"build" type:"path" help:"Folder of what make kafka has fetched." group:"Servers"`
	// GroupProtocol is what the consumers have as GROUP_PROTOCOL.
	GroupProtocol string `name:"group-protocol" enum:"classic,consumer" default:"classic" help:"How consumers share partitions: classic, or consumer (KIP-848)." group:"Servers"`
}

// Config says where a stack is.
type Config struct {
	Dir     string // data, logs and the list of processes
	BinDir  string // where the programs are
	Addrs   Addrs
	Sources Sources
	Servers Servers
	// LogLevel of revstream's own programs; theirs if empty.
	LogLevel string
}

// BinDir is where the running program is, and its siblings with it.
func BinDir() (string, error) {
	executable, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding the programs: %w", err)
	}
	return filepath.Dir(executable), nil
}

// Local credentials of the simulators. They open nothing else.
const (
	clariKey        = "local-clari-key"
	clientID        = "local-salesloft-client"
	clientSecret    = "local-salesloft-secret"
	refreshToken    = "local-salesloft-refresh"
	webhookSecret   = "local-webhook-secret" //nolint:gosec // it opens nothing else
	operatorToken   = "local-desk-operator"
	viewerToken     = "local-desk-viewer-only" //nolint:gosec // it opens nothing else
	keeperKey       = "bG9jYWwtc3RhdGUta2VlcGVyLW9ubHktZm9yLWhlcmU="
	localDatabase   = "revenue"
	webhookCallback = "/webhooks/salesloft"
)

// Environment is what every program of the stack runs with: the settings, and
// nothing of the caller's environment that could mean another system.
func (c Config) Environment() []string {
	env := []string{
		"KAFKA_BROKERS=" + c.Addrs.Broker,
		"SCHEMA_REGISTRY_URL=" + c.RegistryURL(),
		"CLICKHOUSE_URL=" + c.ClickHouseURL(),
		"CLARI_BASE_URL=http://" + c.Addrs.Clari + "/v4",
		"CLARI_API_KEY=" + clariKey,
		"CLARI_FORECAST_IDS=forecast",
		"CLARI_POLL_INTERVAL=200ms",
		"CLARI_INTERVAL=30s",
		"SALESLOFT_BASE_URL=http://" + c.Addrs.Salesloft + "/v2",
		"SALESLOFT_TOKEN_URL=http://" + c.Addrs.Salesloft + "/oauth/token",
		"SALESLOFT_CLIENT_ID=" + clientID,
		"SALESLOFT_CLIENT_SECRET=" + clientSecret,
		"SALESLOFT_REFRESH_TOKEN=" + refreshToken,
		"STATE_KEEPER_URL=base64key://" + keeperKey,
		"SALESLOFT_WEBHOOK_SECRET=" + webhookSecret,
		"SALESLOFT_WEBHOOK_CALLBACK_URL=" + c.WebhookURL(),
		"WEBHOOK_ADDR=" + c.Addrs.Webhooks,
		"POLL_INTERVAL=10s",
		"DESK_ADDR=" + c.Addrs.DeskPage,
		"DESK_OPERATOR_TOKEN=" + operatorToken,
		"DESK_VIEWER_TOKEN=" + viewerToken,
	}
	if c.LogLevel != "" {
		env = append(env, "LOG_LEVEL="+c.LogLevel)
	}
	if c.Servers.GroupProtocol != "" {
		env = append(env, "GROUP_PROTOCOL="+c.Servers.GroupProtocol)
	}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "TZ", "CHDB_LIB"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// RegistryURL is the URL of the schema registry.
func (c Config) RegistryURL() string {
	if c.Servers.Apicurio {
		return registry.URL(c.Addrs.Registry)
	}
	return "http://" + c.Addrs.Registry
}

// ClickHouseURL is the URL of the warehouse's database.
func (c Config) ClickHouseURL() string { return "http://" + c.Addrs.ClickHouse + "/" + localDatabase }

// portError says how to get out of a port that is in use.
func portError(name, flag, addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use, so %s cannot listen there; choose another with --%s", addr, name, flag)
	}
	return fmt.Errorf("listening on %s for %s (--%s): %w", addr, name, flag, err)
}

// WebhookURL is where people-producer takes webhooks.
func (c Config) WebhookURL() string { return "http://" + c.Addrs.Webhooks + webhookCallback }

// WebhookSecret signs them.
func (c Config) WebhookSecret() string { return webhookSecret }

// DeskURL is the page of the dead-letter desk.
func (c Config) DeskURL() string { return "http://" + c.Addrs.DeskPage }

// DeskToken signs an operator in to the desk.
func (c Config) DeskToken() string { return operatorToken }

// Secrets are all that the programs are given to keep to themselves.
func (c Config) Secrets() []string {
	return []string{clariKey, clientSecret, refreshToken, webhookSecret, keeperKey, operatorToken, viewerToken}
}
