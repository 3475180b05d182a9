package secret

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Register exposes the age of v, by which an overdue rotation shows. name is the environment variable that v came from.
func Register(reg prometheus.Registerer, name string, v *Value) error {
	err := reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "revstream_secret_age_seconds",
		Help:        "Since the secret's source changed it; of a plain value, since the process started.",
		ConstLabels: prometheus.Labels{"name": name},
	}, func() float64 { return max(0, time.Since(v.ChangedAt()).Seconds()) }))
	if err != nil {
		return fmt.Errorf("registering the age of %s: %w", name, err)
	}
	return nil
}
