package daemon

// NewTracerProvider is what startTracing installs, for a test that gives it an exporter of its own.
var NewTracerProvider = newTracerProvider
