package endtoend

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/revstream/revstream/deploy/local/metrics"
	"github.com/revstream/revstream/deploy/local/stack"
	"github.com/revstream/revstream/deploy/local/status"
)

// quiet are metrics that a healthy stack does not serve, or not yet: there is no series before the first of what they count.
var quiet = map[string]string{
	"revstream_consume_outage_timestamp_seconds":   "nothing is away",
	"revstream_consume_poison_total":               "nothing is poison",
	"revstream_clickhousesink_insert_errors_total": "no insert has failed",
	"revstream_dlq_stopped_partitions":             "no consumer has stopped",
	"revstream_kafka_connect_errors_total":         "no broker is away",
	"revstream_kafka_read_errors_total":            "likewise",
	"revstream_kafka_write_errors_total":           "likewise",
	"revstream_kafka_disconnects_total":            "no connection has ended",
	"revstream_kafka_fetch_bytes_total":            "not every client reads",
	"revstream_kafka_produce_bytes_total":          "nor does every one write",
	"revstream_quality_findings":                   "the people are as they should be",
	"revstream_contract_freshness_p95_seconds":     "nothing came before the first check",
}

// TestServicesServeTheCatalogue holds /metrics of every service to docs/metrics.md, in both directions, and tries the SQL of the
// runbooks.
func TestServicesServeTheCatalogue(t *testing.T) {
	t.Parallel()
	all, err := metrics.Read(root)
	require.NoError(t, err)
	s := newStack(t, stack.Sources{Seed: 5, People: "200", Users: 3})
	up(t, s)
	cycleEnded(t, s)
	settled(t, s, 200)

	addrs := s.Config().Addrs
	services := map[string]string{
		stack.ForecastProducer: addrs.ForecastProducer, stack.PeopleProducer: addrs.PeopleProducer, stack.ForecastConsumer: addrs.ForecastConsumer,
		stack.PeopleConsumer: addrs.PeopleConsumer, stack.DLQDesk: addrs.DLQDesk, stack.WarehouseWatch: addrs.WarehouseWatch,
	}
	require.ElementsMatch(t, metrics.Services, slices.Collect(maps.Keys(services)))
	missing := func() map[string][]string {
		of := map[string][]string{}
		for service, addr := range services {
			families := scrape(t, addr)
			for _, family := range families {
				listed(t, all, service, family)
			}
			if names := unserved(all, service, families); names != nil {
				of[service] = names
			}
		}
		return of
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for range 90 { // some are known after a while
		if len(missing()) == 0 {
			break
		}
		<-tick.C
	}
	require.Empty(t, missing())
	for _, statement := range runbookSQL(t) {
		_, err := status.Query(t.Context(), s.Config().ClickHouseURL(), statement)
		require.NoError(t, err, statement)
	}
}

// unserved are the metrics of a service that it has not served, and that are not quiet.
func unserved(all []metrics.Metric, service string, served map[string]*dto.MetricFamily) []string {
	var missing []string
	for _, m := range all {
		if _, isQuiet := quiet[m.Name]; slices.Contains(m.Services, service) && served[m.Name] == nil && !isQuiet {
			missing = append(missing, m.Name)
		}
	}
	return missing
}

// listed holds a family to the catalogue.
func listed(t *testing.T, all []metrics.Metric, service string, family *dto.MetricFamily) {
	t.Helper()
	if !strings.HasPrefix(family.GetName(), "revstream_") {
		return
	}
	i := slices.IndexFunc(all, func(m metrics.Metric) bool { return m.Name == family.GetName() })
	require.GreaterOrEqual(t, i, 0, "%s of %s is not in docs/metrics.md", family.GetName(), service)
	m := all[i]
	require.Contains(t, m.Services, service, m.Name)
	require.Equal(t, m.Type, strings.ToLower(family.GetType().String()), m.Name)
	for _, series := range family.GetMetric() {
		var labels []string
		for _, pair := range series.GetLabel() {
			labels = append(labels, pair.GetName())
			if values := m.Values(pair.GetName()); len(values) > 0 {
				require.Contains(t, values, pair.GetValue(), "%s{%s} of %s", m.Name, pair.GetName(), service)
			}
		}
		slices.Sort(labels)
		require.Equal(t, m.Labels, labels, m.Name)
	}
}

func scrape(t *testing.T, addr string) map[string]*dto.MetricFamily {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/metrics", http.NoBody)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	require.NoError(t, err)
	return families
}

var sqlBlock = regexp.MustCompile("(?s)```sql\n(.*?)```")

func runbookSQL(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "deploy/runbooks/*.md"))
	require.NoError(t, err)
	var statements []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, match := range sqlBlock.FindAllStringSubmatch(string(text), -1) {
			if !slices.Contains(statements, match[1]) {
				statements = append(statements, match[1])
			}
		}
	}
	require.NotEmpty(t, statements)
	return statements
}
