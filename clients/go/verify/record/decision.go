package record

import (
	"fmt"
	"math"
	"regexp"
)

// Verdicts of decisions.
const (
	Allow  = "allow"
	Deny   = "deny"
	Review = "review"
)

var verdicts = []string{Allow, Deny, Review}

const (
	contextsMax   = 64
	rulesMax      = 64
	delegationMax = 8
	budgetsMax    = 16
)

// Labels of a decision's links.
const (
	ModelLabel      = "model"
	PrincipalLabel  = "principal"
	SuspensionLabel = "suspension"
)

// Request is what a decision was asked, with what was disclosed of it.
type Request struct {
	Action string
	Target string
	// Subject and Caller are principal ids; "" is the anonymous guest.
	Subject string
	Caller  string
	Tenant  string
	// Level is the subject's.
	Level string
	// MinLevel is what the target itself takes at least; "" if nothing.
	MinLevel string
	// Session is "" if the caller named none.
	Session string
	// HasDigest says whether the input's digest and length are known: committed to, they may be withheld.
	HasDigest   bool
	InputDigest Hash
	InputBytes  uint64
	// Input is the raw input; nil if it was not kept, or is withheld.
	Input    []byte
	Metadata Table[string]
}

// Decision is what a decision's record of any version says. Z, Score, Threshold and Model are nil where there are none.
type Decision struct {
	// TimeMs is the record's, in milliseconds since 1970-01-01T00:00:00Z.
	TimeMs        int64
	Request       Request
	Features      Table[float64]
	Contributions Table[float64]
	ModelID       string
	Model         *Hash
	// Z is in logits.
	Z         *float64
	Score     *float64
	Threshold *float64
	Review    *Band
	Verdict   string
	Reason    string
	// DurationUs is in microseconds.
	DurationUs uint64
	// CallerSeq is the decision's number among its caller's, from 1; 0 if it has none.
	CallerSeq uint64
}

var reasonShape = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)

func (f fields) reason(name string) string {
	reason := f.text(name)
	if !reasonShape.MatchString(reason) {
		f.no(name, "must be an UPPER_SNAKE code")
	}
	return reason
}

var (
	request1Keys = words("action target subject caller tenant loa session input_digest input_bytes input metadata")
	request2Keys = words("action target subject caller loa input metadata")
)

func (f fields) asked() Request {
	request := Request{
		Action:  f.anyText("action"),
		Target:  f.anyText("target"),
		Subject: f.anyText("subject"),
		Caller:  f.anyText("caller"),
		Level:   f.oneOf("loa", Levels...),
	}
	if f.m.Has("min_loa") {
		request.MinLevel = f.oneOf("min_loa", Levels...)
	}
	request.Metadata = f.texts("metadata")
	return request
}

// chain1 is version 1, which is read and no longer written.
func (r *reading) chain1(value any) Decision {
	f := r.payload(value,
		"request features model contributions z score threshold review verdict reason steps duration_us")
	model := f.inner("model", words("id hash"))
	asked := f.inner("request", request1Keys, "min_loa")
	decision := Decision{Request: asked.request1()}
	decision.Features = f.numbers("features")
	decision.ModelID, decision.Model = model.anyText("id"), model.hashOrNull("hash")
	decision.Contributions = f.numbers("contributions")
	decision.Z, decision.Score, decision.Threshold = f.numberOrNull("z"), f.numberOrNull("score"), f.numberOrNull("threshold")
	decision.Review = f.band("review")
	decision.Verdict = f.oneOf("verdict", verdicts...)
	decision.Reason = f.text("reason")
	list(f, "steps", entriesMax, func(item fields) struct{} {
		step := item.itemMap(words("name detail"))
		step.text("name")
		step.anyText("detail")
		return struct{}{}
	})
	decision.DurationUs = f.uint("duration_us")
	f.reason("reason")
	isGrounded := decision.Z != nil && decision.Score != nil && decision.Threshold != nil && decision.Model != nil
	if decision.Verdict == Allow && !isGrounded {
		f.no("verdict", "cannot be allow without z, score, threshold and model")
	}
	return decision
}

func (f fields) request1() Request {
	request := f.asked()
	request.Tenant = f.text("tenant")
	request.Session = f.anyText("session")
	request.HasDigest = true
	request.InputDigest = f.hash("input_digest")
	request.InputBytes = f.uint("input_bytes")
	if f.isNull("input") {
		return request
	}
	request.Input = append([]byte{}, f.bytes("input")...)
	if uint64(len(request.Input)) != request.InputBytes {
		f.no("input_bytes", "must be the length of input")
	}
	return request
}

// chain is a decision of version 2, with its commitments.
type chain struct {
	Decision
	input   Hash
	context Table[Hash]
}

// chain2 is version 2, whose score follows from z and whose model its link names.
func (r *reading) chain2(value any) chain {
	f := r.payload(value, "request features contributions model verdict reason duration_us",
		words("z threshold review caller_seq context rules delegation approval budgets")...)
	read := chain{}
	if f.m.Has("review") {
		if read.Review = f.band("review"); read.Review == nil {
			f.no("review", "must be a map, or be left out")
		}
	}
	asked := f.inner("request", request2Keys, "session", "min_loa")
	read.Request = asked.asked()
	if asked.m.Has("session") {
		read.Request.Session = asked.text("session")
	}
	read.input = asked.hash("input")
	read.Features = f.numbers("features")
	read.Contributions = f.numbers("contributions")
	read.ModelID = f.anyText("model")
	if f.m.Has("z") {
		z := f.number("z")
		score := Score(z)
		read.Z, read.Score = &z, &score
	}
	if f.m.Has("threshold") {
		threshold := f.number("threshold")
		read.Threshold = &threshold
	}
	read.Verdict = f.oneOf("verdict", verdicts...)
	if read.Verdict == Allow && (read.Z == nil || read.Threshold == nil || read.ModelID == "") {
		f.no("verdict", "cannot be allow without z, threshold and model")
	}
	read.Reason = f.reason("reason")
	read.DurationUs = f.uint("duration_us")
	if f.m.Has("caller_seq") {
		read.CallerSeq = f.uintFrom1("caller_seq")
	}
	read.context = f.later()
	return read
}

// Score is 1 / (1 + e^−z), for display: nothing compares it.
func Score(z float64) float64 { return 1 / (1 + math.Exp(-z)) }

// later is what no server writes yet. It gives the commitments of the context.
func (f fields) later() Table[Hash] {
	var context Table[Hash]
	if f.m.Has("context") {
		context = table(f, "context", fields.hash)
		f.counted("context", len(context), contextsMax)
	}
	if f.m.Has("rules") {
		listed(f, "rules", rulesMax, textItem)
	}
	if f.m.Has("delegation") {
		listed(f, "delegation", delegationMax, hashItem)
	}
	if f.m.Has("approval") {
		approval := f.inner("approval", words("id record"))
		approval.text("id")
		approval.hashOrNull("record")
	}
	if f.m.Has("budgets") {
		budgets := table(f, "budgets", func(entries fields, key string) struct{} {
			budget := entries.inner(key, words("spent left"))
			budget.uint("spent")
			budget.uint("left")
			return struct{}{}
		})
		f.counted("budgets", len(budgets), budgetsMax)
	}
	return context
}

func (f fields) counted(name string, count, most int) {
	if count < 1 || count > most {
		f.no(name, fmt.Sprintf("must have 1 to %d entries, or be left out", most))
	}
}

func listed[Item comparable](f fields, name string, most int, read func(item fields) Item) {
	items := list(f, name, most, read)
	if len(items) == 0 {
		f.no(name, "must not be empty, or be left out")
	}
	distinct(f, name, items, "must be distinct")
}

// ReadDecision reads the record of a decision of any version. The disclosures must have been checked against it, as
// ReadDisclosures does.
func ReadDecision(body *Body, disclosures Disclosures) (*Decision, error) {
	if body.SchemaVersion == 1 {
		decision, err := parse(body.Payload, (*reading).chain1)
		if err != nil {
			return nil, err
		}
		decision.TimeMs = body.TimeMs
		return &decision, nil
	}
	read, err := parse(body.Payload, (*reading).chain2)
	if err != nil {
		return nil, err
	}
	decision := read.Decision
	decision.TimeMs = body.TimeMs
	decision.Request.Tenant = body.Tenant
	if target, linked := body.LinkTo(ModelLabel); linked {
		decision.Model = &target
	}
	if decision.Verdict == Allow && decision.Model == nil {
		return nil, &Error{"links", "must name the model of a decision that allows"}
	}
	if opening, disclosed := disclosures["input"]; disclosed {
		digested, err := digestedOf(opening.Value, "disclosures.input.value")
		if err != nil {
			return nil, err
		}
		decision.Request.HasDigest = true
		decision.Request.InputDigest, decision.Request.InputBytes = digested.digest, digested.length
		decision.Request.Input = opening.Raw
	}
	return &decision, nil
}
