package table_test

import (
	"testing"
	"unsafe"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// unsafeText is a view, such as texts of events are.
func unsafeText(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
