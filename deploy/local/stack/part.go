package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/revstream/revstream/deploy/local/kafka"
)

// Names of the parts.
const (
	Broker           = "broker"
	Registry         = "registry"
	ClickHouse       = "clickhouse"
	Clari            = "clari"
	Salesloft        = "salesloft"
	ForecastProducer = "forecast-producer"
	PeopleProducer   = "people-producer"
	ForecastConsumer = "forecast-consumer"
	PeopleConsumer   = "people-consumer"
	DLQDesk          = "dlq-desk"
	WarehouseWatch   = "warehouse-watch"
)

// Surroundings are what revstream needs around it; they start first.
var Surroundings = []string{Broker, Registry, ClickHouse, Clari, Salesloft}

// Services are revstream's own.
var Services = []string{ForecastConsumer, PeopleConsumer, ForecastProducer, PeopleProducer, DLQDesk, WarehouseWatch}

// part is a program that runs for as long as the stack does.
type part struct {
	name  string
	flag  string // of `up`, to give it another address
	addr  string
	args  []string // program first, without its folder
	env   []string
	ready func(context.Context) error
}

func (s *Stack) part(name string) (part, error) {
	a := s.cfg.Addrs
	data := func(part string) string { return filepath.Join(s.cfg.Dir, "data", part) }
	switch name {
	case Broker:
		p := part{name: name, flag: "broker-addr", addr: a.Broker, ready: dials(a.Broker),
			args: []string{"embedded", "broker", "--addr=" + a.Broker, "--data-dir=" + data(name)}}
		if s.cfg.Servers.Kafka {
			p.ready = haveNodes(a.Broker, kafka.Nodes)
			p.args = []string{"revstream-local", "kafka", "--addr=" + a.Broker, "--data-dir=" + data("kafka"),
				"--kafka-lib=" + filepath.Join(s.cfg.Servers.Libs, "kafka", "lib")}
		}
		return p, nil
	case Registry:
		p := part{name: name, flag: "registry-addr", addr: a.Registry, ready: answers(s.cfg.RegistryURL() + "/subjects"),
			args: []string{"embedded", "registry", "--addr=" + a.Registry, "--data-dir=" + data(name)}}
		if s.cfg.Servers.Apicurio {
			p.args = []string{"revstream-local", "registry", "--addr=" + a.Registry, "--data-dir=" + data("apicurio"),
				"--registry-lib=" + filepath.Join(s.cfg.Servers.Libs, "registry", "lib")}
		}
		return p, nil
	case ClickHouse:
		return part{name: name, flag: "clickhouse-addr", addr: a.ClickHouse, ready: answers("http://" + a.ClickHouse + "/ping"),
			args: []string{"embedded", "clickhouse", "--addr=" + a.ClickHouse, "--data-dir=" + data(name)}}, nil
	case Clari:
		src := s.cfg.Sources
		return part{name: name, flag: "clari-addr", addr: a.Clari, ready: answers("http://" + a.Clari + "/_sim/stats"),
			args: []string{"revstream-local", "sim", "clari", "--addr=" + a.Clari, "--seed=" + fmt.Sprint(src.Seed),
				"--users=" + strconv.Itoa(src.Users), "--drift=" + strconv.FormatBool(src.Drift)},
			env: []string{"CLARI_API_KEY=" + clariKey}}, nil
	case Salesloft:
		src := s.cfg.Sources
		return part{name: name, flag: "salesloft-addr", addr: a.Salesloft, ready: answers("http://" + a.Salesloft + "/_sim/stats"),
			args: []string{"revstream-local", "sim", "salesloft", "--addr=" + a.Salesloft, "--seed=" + fmt.Sprint(src.Seed),
				"--people=" + src.People, "--drift=" + strconv.FormatBool(src.Drift)},
			env: []string{"SALESLOFT_CLIENT_ID=" + clientID, "SALESLOFT_CLIENT_SECRET=" + clientSecret, "SALESLOFT_REFRESH_TOKEN=" + refreshToken}}, nil
	case ForecastProducer:
		return s.service(name, "forecast-producer-addr", a.ForecastProducer), nil
	case PeopleProducer:
		return s.service(name, "people-producer-addr", a.PeopleProducer), nil
	case ForecastConsumer:
		return s.service(name, "forecast-consumer-addr", a.ForecastConsumer), nil
	case PeopleConsumer:
		return s.service(name, "people-consumer-addr", a.PeopleConsumer), nil
	case DLQDesk:
		p := s.service(name, "dlq-desk-addr", a.DLQDesk)
		p.args = []string{"dlq-replayer", "serve"}
		return p, nil
	case WarehouseWatch:
		p := s.service(name, "warehouse-watch-addr", a.WarehouseWatch)
		p.args = []string{"warehouse", "watch"}
		return p, nil
	}
	return part{}, fmt.Errorf("there is no part %q in the stack", name)
}

// service is a program of revstream's own. The producers do not look at the
// name that consumers have in their groups. It must stay the same over a kill:
// the embedded broker keeps a dynamic member that dies while its group forms.
func (s *Stack) service(name, flag, addr string) part {
	return part{name: name, flag: flag, addr: addr, args: []string{name},
		env: []string{"HTTP_ADDR=" + addr, "GROUP_INSTANCE_ID=" + name}, ready: answers("http://" + addr + "/readyz")}
}

// probe keeps no connections: the parts come and go.
var probe = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// answers is ready when a GET is answered with 200.
func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return fmt.Errorf("asking %s: %w", url, err)
		}
		resp, err := probe.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 16<<10)) // only to say more
		if resp.StatusCode != http.StatusOK {
			return errors.New(unhealthy(resp.StatusCode, body))
		}
		return nil
	}
}

// unhealthy says in a line what an answer of /readyz complains of.
func unhealthy(status int, body []byte) string {
	var checks map[string]json.RawMessage
	if json.Unmarshal(body, &checks) != nil {
		return fmt.Sprintf("status %d: %s", status, bytes.TrimSpace(body))
	}
	var complaints []string
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		var check struct{ Error string }
		if json.Unmarshal(checks[name], &check) == nil && check.Error != "" {
			complaints = append(complaints, name+": "+check.Error)
		}
	}
	if len(complaints) == 0 {
		return fmt.Sprintf("status %d: %s", status, bytes.TrimSpace(body))
	}
	return "degraded: " + strings.Join(complaints, "; ")
}

// dials is ready when a connection is accepted.
func dials(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// haveNodes is ready when a broker is one of so many.
func haveNodes(addr string, nodes int) func(context.Context) error {
	return func(ctx context.Context) error {
		client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RequestRetries(0))
		if err != nil {
			return fmt.Errorf("asking %s: %w", addr, err)
		}
		defer client.Close()
		brokers, err := kadm.NewClient(client).ListBrokers(ctx)
		if err == nil && len(brokers) < nodes {
			err = fmt.Errorf("%d of %d nodes have joined", len(brokers), nodes)
		}
		return err
	}
}
