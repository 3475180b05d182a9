package compose

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"
)

// root is the repository's.
const root = "../../.."

// load reads docker-compose.yml as docker compose does after `cp .env.example .env`: a key that the specification does not
// know, a dependency that is no service, a volume that is not declared and a variable without a value are errors.
func load(t *testing.T) *types.Project {
	t.Helper()
	dir, err := filepath.Abs(root)
	require.NoError(t, err)
	file, err := os.Open(filepath.Join(dir, ".env.example"))
	require.NoError(t, err)
	defer file.Close()
	env, err := dotenv.Parse(file)
	require.NoError(t, err)

	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  dir,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "docker-compose.yml")}},
		Environment: env,
	}, func(o *loader.Options) {
		o.ResolvePaths = true
		o.Profiles = []string{"*"}
		o.SetProjectName("revstream", true)
	})
	require.NoError(t, err)
	require.Greater(t, len(project.Services), 10)
	return project
}

// runsForever tells services from what runs once.
func runsForever(s types.ServiceConfig) bool { return s.Restart == types.RestartPolicyUnlessStopped }

// value of a variable of a service, or "".
func value(s types.ServiceConfig, name string) string {
	if v := s.Environment[name]; v != nil {
		return *v
	}
	return ""
}

func TestWhatRunsForeverIsWatched(t *testing.T) {
	t.Parallel()
	project := load(t)
	for name, s := range project.Services {
		require.NotEqual(t, runsForever(s), s.HealthCheck == nil, "%s: what runs forever has a health check, and nothing else", name)
		for needed, how := range s.DependsOn {
			other, exists := project.Services[needed]
			require.True(t, exists, "%s depends on %s", name, needed)
			want := types.ServiceConditionCompletedSuccessfully
			if runsForever(other) {
				want = types.ServiceConditionHealthy
			}
			require.Equal(t, want, how.Condition, "%s depends on %s", name, needed)
		}
		if s.Build == nil {
			require.Regexp(t, `:v?\d+\.\d+(\.\d+)?$`, s.Image, "%s: a version, so that it is the same tomorrow", name)
		}
	}
}

func TestPortsAreOpenOnThisMachineAlone(t *testing.T) {
	t.Parallel()
	taken := map[string]string{}
	for name, s := range load(t).Services {
		for _, port := range s.Ports {
			require.Equal(t, "127.0.0.1", port.HostIP, "%s publishes %s", name, port.Published)
			require.Empty(t, taken[port.Published], "port %s of %s", port.Published, name)
			taken[port.Published] = name
		}
	}
	require.NotEmpty(t, taken)
}

func TestMountsAreInTheRepository(t *testing.T) {
	t.Parallel()
	binds := 0
	for name, s := range load(t).Services {
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				require.DirExists(t, v.Source, name)
				require.True(t, v.ReadOnly, "%s can write to %s", name, v.Source)
				binds++
			}
		}
	}
	require.Positive(t, binds)
}

// hostPort is an address inside of a value: a URL's or one of a list.
var hostPort = regexp.MustCompile(`(?:^|[/@,])([a-z][a-z0-9-]*):(\d+)`)

// TestAddressesLeadToServices follows every address that one of our programs is given.
func TestAddressesLeadToServices(t *testing.T) {
	t.Parallel()
	project := load(t)
	found := 0
	for name, s := range project.Services {
		if s.Build == nil {
			continue
		}
		for variable := range s.Environment {
			for _, match := range hostPort.FindAllStringSubmatch(value(s, variable), -1) {
				require.Contains(t, listens(project, match[1]), match[2], "%s: %s leads to %s", name, variable, match[0])
				found++
			}
		}
	}
	require.Greater(t, found, 10)
}

// listens returns the ports that a service opens, from its settings: our own variables, Kafka's listeners, or else the
// ports that it publishes.
func listens(project *types.Project, service string) []string {
	s, exists := project.Services[service]
	if !exists {
		return nil
	}
	var ports []string
	for variable := range s.Environment {
		if !strings.HasSuffix(variable, "_ADDR") && variable != "KAFKA_LISTENERS" {
			continue
		}
		for addr := range strings.SplitSeq(value(s, variable), ",") {
			if u, err := url.Parse(addr); err == nil && u.Host != "" {
				addr = u.Host
			}
			if _, port, err := net.SplitHostPort(addr); err == nil {
				ports = append(ports, port)
			}
		}
	}
	if s.Build == nil && service != "kafka" {
		for _, port := range s.Ports {
			ports = append(ports, portName(port.Target))
		}
	}
	return ports
}

// TestHealthChecksAskTheServiceItself: a probe at the wrong port would report a service as dead that is not.
func TestHealthChecksAskTheServiceItself(t *testing.T) {
	t.Parallel()
	probed := 0
	for name, s := range load(t).Services {
		if s.Build == nil || s.HealthCheck == nil {
			continue
		}
		test := s.HealthCheck.Test
		require.Len(t, test, 3, name)
		require.Equal(t, []string{"CMD", "/probe", "http://127.0.0.1" + value(s, "HTTP_ADDR") + "/readyz"}, []string(test), name)
		require.Equal(t, "local", s.Build.Target, "%s: the target that has the probe", name)
		probed++
	}
	require.Equal(t, 8, probed)
}

// TestKafkaIsReachedFromBothSides: clients connect to what the broker advertises, so the advertised port of the host's
// listener must be the published one.
func TestKafkaIsReachedFromBothSides(t *testing.T) {
	t.Parallel()
	kafka := load(t).Services["kafka"]
	advertised := strings.Split(value(kafka, "KAFKA_ADVERTISED_LISTENERS"), ",")
	require.Len(t, kafka.Ports, 1)
	require.True(t, slices.Contains(advertised, "HOST://127.0.0.1:"+kafka.Ports[0].Published), advertised)
	require.Contains(t, value(kafka, "KAFKA_LISTENERS"), "HOST://:"+portName(kafka.Ports[0].Target))
	require.True(t, slices.Contains(advertised, "INSIDE://kafka:29092"), advertised)
}
