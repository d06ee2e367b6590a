// Package model recomputes decisions: the features of a check, the score that a trust model gives it, and the
// verdict, to the last bit of z. Pure. Source: docs/spec/trust.md.
//
// Products are converted to float64 where they are added, since a conversion is what keeps a Go compiler from fusing
// multiplication and addition, which would round once instead of twice.
package model

import (
	"fmt"
	"math"
	"slices"

	"sigil.example/go/verify/record"
	"sigil.example/go/verify/spelling"
)

// Error is a field of a model that breaks a rule.
type Error struct{ Field, Rule string }

func (e *Error) Error() string { return "malformed model: " + e.Field + " " + e.Rule }

// Features, in the order of summing.
const (
	ActionRisk = iota
	TargetSensitivity
	Level
	Rate
	Entropy
	featureCount
)

// FeatureNames are the names in records.
var FeatureNames = [featureCount]string{"action_risk", "target_sensitivity", "level", "rate", "entropy"}

// PerFeature has a number for each.
type PerFeature [featureCount]float64

const (
	windowMsMax  = 86_400_000
	rateLimitMax = 1_000_000
)

// Model is a model that breaks no rule, ready to decide.
type Model struct {
	bias      float64
	weights   PerFeature
	threshold float64
	review    *record.Band
	actions   table[record.ActionRule]
	targets   table[float64]
	// thresholdZ and reviewZ are in logits.
	thresholdZ float64
	reviewZ    record.Band
}

// Parse checks the rules of docs/spec/trust.md §1. A model that breaks any is refused as a whole.
func Parse(payload record.TrustModel) (*Model, error) {
	model := &Model{bias: payload.Bias, threshold: payload.Threshold, review: payload.Review}
	if err := model.takeWeights(payload.Weights); err != nil {
		return nil, err
	}
	isScore := func(score float64) bool { return score > 0 && score < 1 }
	if !isScore(payload.Threshold) {
		return nil, &Error{"threshold", "must be above 0 and below 1"}
	}
	model.thresholdZ = logit(payload.Threshold)
	if band := payload.Review; band != nil {
		switch {
		case !isScore(band.Low):
			return nil, &Error{"review.low", "must be above 0 and below 1"}
		case !isScore(band.High):
			return nil, &Error{"review.high", "must be above 0 and below 1"}
		case band.Low > payload.Threshold:
			return nil, &Error{"review.low", "must not be above threshold"}
		case band.High < payload.Threshold:
			return nil, &Error{"review.high", "must not be below threshold"}
		}
		model.reviewZ = record.Band{Low: logit(band.Low), High: logit(band.High)}
	}
	if payload.WindowMs < 1 || payload.WindowMs > windowMsMax {
		return nil, &Error{"rate.window_ms", fmt.Sprintf("must be a whole number from 1 to %d", windowMsMax)}
	}
	if payload.RateLimit < 1 || payload.RateLimit > rateLimitMax {
		return nil, &Error{"rate.limit", fmt.Sprintf("must be a whole number from 1 to %d", rateLimitMax)}
	}
	var err error
	if model.actions, err = compile("actions", payload.Actions); err != nil {
		return nil, err
	}
	model.targets, err = compile("targets", payload.Targets)
	return model, err
}

func compile[Value any](name string, entries record.Table[Value]) (table[Value], error) {
	rows := make(table[Value], 0, len(entries))
	for _, entry := range entries {
		if fault := patternFault(entry.Name); fault != "" {
			return nil, &Error{fmt.Sprintf("%s[%q]", name, entry.Name), fault}
		}
		rows = append(rows, newRow(entry.Name, entry.Value))
	}
	return rows.sorted(), nil
}

func (m *Model) takeWeights(weights record.Table[float64]) error {
	for _, entry := range weights {
		if !slices.Contains(FeatureNames[:], entry.Name) {
			return &Error{"weights." + entry.Name, "is not a field of a model"}
		}
	}
	magnitude := math.Abs(m.bias)
	for feature, name := range FeatureNames {
		weight, found := weights.Get(name)
		switch {
		case !found:
			return &Error{"weights." + name, "is missing"}
		case feature == Level && weight <= 0:
			return &Error{"weights." + name, "must be above 0"}
		case feature != Level && weight >= 0:
			return &Error{"weights." + name, "must be below 0"}
		}
		m.weights[feature] = weight
		magnitude += math.Abs(weight)
	}
	if math.IsInf(magnitude, 0) {
		return &Error{"weights", "must add up to a finite number"}
	}
	return nil
}

// logit is ln(p / (1 − p)) in basic operations, in the order of docs/spec/trust.md §4: libraries' logarithms may
// differ in the last bit, and a verdict must not.
func logit(p float64) float64 {
	const (
		ln2       = 0.6931471805599453
		sqrt2     = 1.4142135623730951
		sqrtHalf  = 0.7071067811865476
		lastTerm  = 11
		firstTerm = 0
	)
	m, k := p/(1-p), 0.0
	for ; m >= sqrt2; k++ {
		m /= 2
	}
	for ; m < sqrtHalf; k-- {
		m *= 2
	}
	s := (m - 1) / (m + 1)
	t := float64(s * s)
	sum := 0.0
	for n := lastTerm; n >= firstTerm; n-- {
		sum = float64(sum*t) + 1/float64(2*n+1)
	}
	return float64(k*ln2) + float64(float64(2*s)*sum)
}

func rankOf(level string) int { return slices.Index(record.Levels, level) }

// question is what a decision is about, as far as the model looks.
type question struct {
	action, target  string
	level, minLevel string
	rate, entropy   float64
}

type evaluation struct {
	features      PerFeature
	contributions PerFeature
	z             float64
	verdict       string
	reason        string
}

const unlisted = 1 // The risk of an unknown action, and the sensitivity of an unlisted target.

func (m *Model) evaluate(asked question) evaluation {
	rule, isKnown := m.actions.find(asked.action)
	risk := float64(unlisted)
	if isKnown {
		risk = rule.Risk
	}
	sensitivity, isListed := m.targets.find(asked.target)
	if !isListed {
		sensitivity = unlisted
	}
	result := evaluation{}
	result.features = PerFeature{
		ActionRisk:        risk,
		TargetSensitivity: sensitivity,
		Level:             float64(rankOf(asked.level)) / float64(len(record.Levels)-1),
		Rate:              asked.rate,
		Entropy:           asked.entropy,
	}
	result.z = m.bias
	for feature, value := range result.features {
		// Adding zero makes −0 a 0, which is what a record gives back.
		result.contributions[feature] = float64(m.weights[feature]*value) + 0
		result.z += result.contributions[feature]
	}
	least := max(rankOf(rule.MinLevel), rankOf(asked.minLevel))
	result.verdict, result.reason = m.decide(isKnown, rankOf(asked.level) >= least, result.z)
	return result
}

// decide takes the first rule that applies.
func (m *Model) decide(isKnown, isHighEnough bool, z float64) (verdict, reason string) {
	switch hasBand := m.review != nil; {
	case !isKnown:
		return record.Deny, "UNKNOWN_ACTION"
	case !isHighEnough:
		return record.Deny, "LEVEL_TOO_LOW"
	case z >= m.thresholdZ && (!hasBand || z >= m.reviewZ.High):
		return record.Allow, "SCORE_AT_OR_ABOVE_THRESHOLD"
	case hasBand && z >= m.reviewZ.Low:
		return record.Review, "REVIEW_BAND"
	default:
		return record.Deny, "SCORE_BELOW_THRESHOLD"
	}
}

// canonical gives a model from before globs were canonical as it has been read since: a glob without a canonical form
// matches no canonical name and is dropped, and of two that coincide the stricter row wins. changed is false where
// every glob is canonical.
func canonical(payload record.TrustModel) (spelled record.TrustModel, changed bool) {
	actions, changedActions := merge(payload.Actions, spelling.ActionGlob, func(a, b record.ActionRule) record.ActionRule {
		level := a.MinLevel
		if rankOf(b.MinLevel) > rankOf(level) {
			level = b.MinLevel
		}
		return record.ActionRule{Risk: max(a.Risk, b.Risk), MinLevel: level}
	})
	targets, changedTargets := merge(payload.Targets, spelling.TargetGlob, func(a, b float64) float64 { return max(a, b) })
	payload.Actions, payload.Targets = actions, targets
	return payload, changedActions || changedTargets
}

func merge[Row any](
	rows record.Table[Row], spell func(string) (string, error), stricter func(a, b Row) Row,
) (merged record.Table[Row], changed bool) {
	at := map[string]int{}
	for _, entry := range rows {
		form, err := spell(entry.Name)
		changed = changed || err != nil || form != entry.Name
		if err != nil {
			continue
		}
		if index, coincides := at[form]; coincides {
			merged[index].Value = stricter(merged[index].Value, entry.Value)
			continue
		}
		at[form] = len(merged)
		merged = append(merged, record.Named[Row]{Name: form, Value: entry.Value})
	}
	return merged, changed
}
