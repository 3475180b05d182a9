package forecast

import (
	"context"
	"errors"
	"time"

	"github.com/revstream/revstream/pipeline/resilience"
	"github.com/revstream/revstream/producers/clari"
)

// maxQuotaWait is between two looks at the export limits.
const maxQuotaWait = 5 * time.Minute

// awaitQuota returns once Clari's export limits leave room for a job beside the reserve for people. refusals is how often Clari has
// refused this job for want of quota although they did: then it waits first, longer each time.
func (e *Exporter) awaitQuota(ctx context.Context, refusals int) error {
	defer e.setWaiting(false)
	for looks := refusals; ; looks++ {
		if looks > 0 {
			e.setWaiting(true)
			wait := min(e.cfg.PollInterval<<min(looks-1, 10), max(maxQuotaWait, e.cfg.PollInterval))
			if err := resilience.Sleep(ctx, wait); err != nil {
				return err
			}
		}
		limits, err := e.limits(ctx)
		if err != nil || e.affordable(limits) {
			return err
		}
		if looks == refusals {
			e.logger.WarnContext(ctx, "waiting for Clari's export quota", "available_jobs", limits.AvailableMonthlyQuota, "monthly_quota", limits.MonthlyQuota,
				"available_slots", limits.AvailableConcurrentLimit, "concurrent_limit", limits.ConcurrentLimit)
		}
	}
}

// limits reads the export limits. A key that may not see them works without: Clari itself then says when they are reached.
func (e *Exporter) limits(ctx context.Context) (clari.Limits, error) {
	limits, err := e.deps.Clari.Limits(ctx)
	if refused(err) && !errors.Is(err, clari.ErrUnauthorized) {
		if !e.unlimited {
			e.logger.WarnContext(ctx, "the API key may not see Clari's export limits, going on without a reserve for people", "error", err)
		}
		e.unlimited = true
		return clari.Limits{}, nil
	}
	if err == nil {
		e.metrics.quota.Set(float64(limits.AvailableMonthlyQuota))
		e.metrics.concurrency.Set(float64(limits.AvailableConcurrentLimit))
	}
	return limits, err
}

// affordable tells whether a job leaves the reserve untouched. A limit of 0 is one that is not known.
func (e *Exporter) affordable(l clari.Limits) bool {
	reserve := int(float64(l.MonthlyQuota) * e.cfg.QuotaReserve)
	slots := min(e.cfg.ConcurrencyReserve, l.ConcurrentLimit-1)
	return (l.MonthlyQuota == 0 || l.AvailableMonthlyQuota > reserve) && (l.ConcurrentLimit == 0 || l.AvailableConcurrentLimit > slots)
}

func (e *Exporter) setWaiting(waiting bool) {
	e.health.waits(waiting)
	if waiting {
		e.metrics.waiting.Set(1)
	} else {
		e.metrics.waiting.Set(0)
	}
}
