// Replies as proto3 JSON. Pure.

package sigil

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// JSON prints a message as proto3 JSON, by fmt, encoding/json and log/slog: 64-bit integers as strings, bytes in
// base64, enums by name, without fields that have their default. json.Marshal of a message itself does not.
//
//	fmt.Println(sigil.JSON{reply})
type JSON struct{ proto.Message }

// MarshalJSON gives the same bytes for the same message; protojson's own spaces vary on purpose.
func (j JSON) MarshalJSON() ([]byte, error) {
	if j.Message == nil {
		return []byte("null"), nil
	}
	text, err := protojson.Marshal(j.Message)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return nil, err
	}
	return compact.Bytes(), nil
}

// String is the JSON text, or why there is none.
func (j JSON) String() string {
	text, err := j.MarshalJSON()
	if err != nil {
		return "no JSON: " + err.Error()
	}
	return string(text)
}
