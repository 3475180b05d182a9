package quality

// The checks.
const (
	NullRateHigh      = "null_rate"          // too much of a column is null that should not be
	EmailInvalid      = "email_invalid"      // the e-mail is none
	PhoneInvalid      = "phone_invalid"      // the phone is none
	EmailDuplicate    = "email_duplicate"    // several people have one e-mail
	PhoneDuplicate    = "phone_duplicate"    // several people have one phone
	Outlier           = "outlier"            // a count is far beyond the others
	Negative          = "negative"           // a count is below 0
	TimeOrder         = "time_order"         // created after it was updated
	TimeFuture        = "time_future"        // a time that has not come yet
	NullDrift         = "null_drift"         // a column's null rate has moved since last week
	DistributionDrift = "distribution_drift" // the shares of a column's values have moved since last week
	ExportDoubt       = "export_doubt"       // the newest export of something says that it is doubtful
)

// Checks are all of them.
var Checks = []string{
	NullRateHigh, EmailInvalid, PhoneInvalid, EmailDuplicate, PhoneDuplicate, Outlier, Negative, TimeOrder, TimeFuture, NullDrift,
	DistributionDrift, ExportDoubt,
}

// threshold is the share from which a finding is a warning, and critical. What is there at all, but below, is worth an info.
type threshold struct{ warning, critical float64 }

// never is a share that nothing reaches.
const never = 2

// severity of a share that is not 0.
func (t threshold) severity(share float64) Severity {
	switch {
	case share >= t.critical:
		return Critical
	case share >= t.warning:
		return Warning
	default:
		return Info
	}
}

// The thresholds. docs/data-quality.md has them as a table.
var (
	// required are the columns that should be filled; below the warning nothing is said of them.
	required = map[string]threshold{
		"created_at": {0.0001, 0.01}, "updated_at": {0.0001, 0.01},
		"email_address": {0.10, 0.50}, "last_name": {0.10, 0.50}, "person_company_name": {0.25, never}, "owner_id": {0.25, never},
	}
	emailInvalid   = threshold{0.01, 0.10} // of the e-mails
	phoneInvalid   = threshold{0.05, 0.25} // of the phones
	emailDuplicate = threshold{0.01, 0.10} // people who share theirs, of those who have one
	phoneDuplicate = threshold{0.10, 0.50} // colleagues share the company's
	outliers       = threshold{0.01, never}
	negative       = threshold{0, 0.01}
	timeOrder      = threshold{0, 0.01}
	timeFuture     = threshold{0, 0.01}
	nullDrift      = threshold{0.05, 0.20} // by which the null rate has moved, either way
	distribution   = threshold{0.10, 0.25} // of the population stability index, as is customary: moved, and moved much

	// doubts are the columns of export_runs that say that something is doubtful, and how much that matters: what Clari has left out
	// makes every sum wrong.
	doubts = []doubt{
		{"rows_truncated", "rows_truncated", Critical, "the source has left out rows"},
		{"cells_truncated", "cells_truncated", Critical, "the source has left out values"},
		{"empty", "empty", Warning, "the export was empty"},
		{"time_period_received", "time_period_received IS NOT NULL", Warning, "the source answered with another period, of which nothing was published"},
		{"period_gap", "period_gap", Warning, "the period does not end where the next one begins"},
		{"unknown_users", "unknown_users > 0", Warning, "entries refer to users whom the export does not describe"},
		{"unknown_fields", "unknown_fields > 0", Warning, "entries refer to fields that the export does not describe"},
		{"unusual_count", "unusual_count", Warning, "the number of rows is far from the last run's"},
		{"rows_rejected", "rows_rejected > 0", Warning, "rows could not be published"},
	}
)

const (
	// leastCompared is how many people both sides of a comparison must have: of fewer, chance alone moves shares that much.
	leastCompared = 1000
	// leastSigma is by how many standard errors a share must have moved, beside the threshold.
	leastSigma = 4
	// leastOutliers is how many values a column must have for outliers to be looked for.
	leastOutliers = 100
	// outlierDistance is how far from the median an outlier is, in robust standard deviations of the logarithm: counts have long
	// tails. The deviation is at least leastDeviation, a factor of 2, lest every count be an outlier where nearly all are the same.
	outlierDistance = 6
	leastDeviation  = 0.7
	// rareShare is what a value must have on either side to be compared by itself; the others are compared as one.
	rareShare = 0.005
	// tolerance is how far a clock of the source may be ahead, in hours.
	tolerance = 24
)

// doubt is a column of export_runs.
type doubt struct {
	column, condition string
	severity          Severity
	text              string
}

// The columns that are compared or held against each other.
var (
	countColumns        = []string{"emails_sent", "emails_viewed", "emails_clicked", "emails_replied_to", "emails_bounced", "calls", "success_count"}
	timeColumns         = []string{"created_at", "updated_at", "last_contacted_at", "last_replied_at"}
	distributionColumns = []string{"job_seniority", "country"}
)
