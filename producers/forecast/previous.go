package forecast

// Previous is the ID of the quarter before one: 2025_Q4 for 2026_Q1.
func Previous(period string) (string, error) { return previous(period) }
