package event

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/google/uuid"
)

// AppendID appends an ID as its String has it.
func AppendID(dst []byte, id uuid.UUID) []byte {
	for i, part := range [...][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

// AppendAvro appends a valid envelope as every schema begins with it.
func (e *Envelope) AppendAvro(dst []byte) []byte {
	dst = AppendID(binary.AppendVarint(dst, int64(len("00000000-0000-0000-0000-000000000000"))), e.EventID)
	dst = binary.AppendVarint(dst, e.SourceVersion.UnixMicro())
	dst = binary.AppendVarint(dst, e.ObservedAt.UnixMicro())
	var operation int64 // the index in the enum
	if e.Operation == Delete {
		operation = 1
	}
	dst = binary.AppendVarint(dst, operation)
	return append(binary.AppendVarint(dst, int64(len(e.CorrelationID))), e.CorrelationID...)
}
