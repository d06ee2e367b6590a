package model

import (
	"math"

	"sigil.example/go/verify/record"
)

// Outcomes of a replay and of its values.
const (
	Equal     = "equal"
	Different = "different"
	// Partial: nothing differs, and the input that would give the entropy again is not at hand.
	Partial = "partial"
	// AsRecorded: taken from the record, since nothing at hand gives it again.
	AsRecorded = "asRecorded"
)

// Value is one value of a decision, as its record has it and as its model gives it: a float64, a string or nil.
type Value struct {
	// Field is the payload's dotted path.
	Field      string `json:"field"`
	Recorded   any    `json:"recorded"`
	Recomputed any    `json:"recomputed"`
	Outcome    string `json:"outcome"`
}

// Replay is a decision worked out again. The zero value is not equal to anything.
type Replay struct {
	Outcome string `json:"outcome"`
	// Values are in the order in which a decision is made.
	Values []Value `json:"values"`
}

// FirstDifference is the first value that differs.
func (r Replay) FirstDifference() (Value, bool) {
	for _, value := range r.Values {
		if value.Outcome == Different {
			return value, true
		}
	}
	return Value{}, false
}

// displayTolerance is for logarithms and exponentials of libraries. No verdict depends on those.
const displayTolerance = 1e-9

func isFault(reason string) bool {
	return reason == "EVALUATOR_ERROR" || reason == "MODEL_MISSING" || reason == "DEADLINE_EXCEEDED"
}

// Of works a decision out again by the payload of the model that it names, which is not read if none decided.
func Of(decision *record.Decision, payload any) (Replay, error) {
	var values []Value
	if isFault(decision.Reason) {
		values = []Value{compareText("verdict", decision.Verdict, record.Deny)}
	} else {
		var err error
		if values, err = replayScored(decision, payload); err != nil {
			return Replay{}, err
		}
	}
	replay := Replay{Outcome: Equal, Values: values}
	for _, value := range values {
		if value.Field == "features.entropy" && value.Outcome == AsRecorded {
			replay.Outcome = Partial
		}
	}
	if _, differs := replay.FirstDifference(); differs {
		replay.Outcome = Different
	}
	return replay, nil
}

// replayScored tries a model's globs as they stand, by which it decided at first, and then in their canonical forms, by
// which it has decided since.
func replayScored(decision *record.Decision, payload any) ([]Value, error) {
	read, err := record.ParseTrustModel(payload)
	if err != nil {
		return nil, err
	}
	literally, err := replayBy(decision, read)
	if err != nil || agrees(literally) {
		return literally, err
	}
	spelled, changed := canonical(read)
	if !changed {
		return literally, nil
	}
	since, err := replayBy(decision, spelled)
	if err != nil {
		return nil, err
	}
	if agrees(since) {
		return since, nil
	}
	return literally, nil
}

func agrees(values []Value) bool {
	_, differs := Replay{Values: values}.FirstDifference()
	return !differs
}

func replayBy(decision *record.Decision, payload record.TrustModel) ([]Value, error) {
	model, err := Parse(payload)
	if err != nil {
		return nil, err
	}
	asked := question{
		action: decision.Request.Action, target: decision.Request.Target,
		level: decision.Request.Level, minLevel: decision.Request.MinLevel,
	}
	if asked.rate, err = share(decision, Rate); err != nil {
		return nil, err
	}
	if asked.entropy, err = share(decision, Entropy); err != nil {
		return nil, err
	}
	return compareAll(decision, model, model.evaluate(asked)), nil
}

// share is a feature that only the record has.
func share(decision *record.Decision, feature int) (float64, error) {
	name := FeatureNames[feature]
	value, found := decision.Features.Get(name)
	if !found || !(value >= 0 && value <= 1) {
		return 0, &record.Error{Field: "payload.features." + name, Rule: "must be between 0 and 1"}
	}
	return value, nil
}

func compareAll(decision *record.Decision, model *Model, result evaluation) []Value {
	values := make([]Value, 0, 2*featureCount+7)
	for feature := range FeatureNames {
		values = append(values, compareFeature(decision, feature, result.features[feature]))
	}
	for feature, name := range FeatureNames {
		recorded := numberOf(decision.Contributions, name)
		values = append(values, compare("contributions."+name, recorded, &result.contributions[feature], 0))
	}
	score := record.Score(result.z)
	lowOf := func(band *record.Band) (low, high *float64) {
		if band == nil {
			return nil, nil
		}
		return &band.Low, &band.High
	}
	recordedLow, recordedHigh := lowOf(decision.Review)
	low, high := lowOf(model.review)
	return append(values,
		compare("z", decision.Z, &result.z, 0),
		compare("score", decision.Score, &score, displayTolerance),
		compare("threshold", decision.Threshold, &model.threshold, 0),
		compare("review.low", recordedLow, low, 0),
		compare("review.high", recordedHigh, high, 0),
		compareText("verdict", decision.Verdict, result.verdict),
		compareText("reason", decision.Reason, result.reason),
	)
}

func numberOf(numbers record.Table[float64], name string) *float64 {
	if number, found := numbers.Get(name); found {
		return &number
	}
	return nil
}

func compareFeature(decision *record.Decision, feature int, value float64) Value {
	name := FeatureNames[feature]
	field := "features." + name
	taken := Value{field, value, value, AsRecorded}
	switch request := decision.Request; {
	case feature == Rate:
		return taken // An observation of that moment.
	case feature != Entropy:
		return compare(field, numberOf(decision.Features, name), &value, 0)
	case request.Input != nil:
		entropy := entropyOf(request.Input)
		return compare(field, &value, &entropy, displayTolerance)
	case request.HasDigest && request.InputBytes == 0:
		none := 0.0
		return compare(field, &value, &none, displayTolerance)
	default:
		return taken
	}
}

// entropyOf is the Shannon entropy of the bytes in bits a byte, divided by 8; 0 of none.
func entropyOf(input []byte) float64 {
	var counts [256]int
	for _, octet := range input {
		counts[octet]++
	}
	bits, length := 0.0, float64(len(input))
	for _, count := range counts {
		if count > 0 {
			bits += float64(float64(count) / length * math.Log2(length/float64(count)))
		}
	}
	return min(1, bits/8)
}

// compare takes numbers, or nil for none.
func compare(field string, recorded, recomputed *float64, tolerance float64) Value {
	value := Value{Field: field, Outcome: Different}
	if recorded != nil {
		value.Recorded = *recorded
	}
	if recomputed != nil {
		value.Recomputed = *recomputed
	}
	isNone := recorded == nil && recomputed == nil
	if isNone || recorded != nil && recomputed != nil && math.Abs(*recorded-*recomputed) <= tolerance {
		value.Outcome = Equal
	}
	return value
}

func compareText(field, recorded, recomputed string) Value {
	value := Value{field, recorded, recomputed, Different}
	if recorded == recomputed {
		value.Outcome = Equal
	}
	return value
}
