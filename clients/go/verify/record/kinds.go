package record

import (
	"fmt"
	"strings"
)

// schema checks the payloads of one kind. Governing kinds are trusted by their kind alone, so that they stand in the
// system space only, which quorums write.
type schema struct {
	isSystem bool
	// versions from 1. None is ever changed or dropped; others are refused.
	versions []func(r *reading, payload any)
}

func checking[Payload any](parse func(r *reading, payload any) Payload) func(r *reading, payload any) {
	return func(r *reading, payload any) { parse(r, payload) }
}

var schemas map[string]schema

// init, because parsing genesis checks a model, and so on: a table that names them all cannot name itself.
func init() {
	system := func(versions ...func(*reading, any)) schema { return schema{true, versions} }
	both := func(versions ...func(*reading, any)) schema { return schema{false, versions} }
	schemas = map[string]schema{
		"genesis":         system(checking((*reading).genesis)),
		"signing_key":     system(signingKey(1), signingKey(2)),
		"frozen_chain":    both(checking((*reading).chain1), checking((*reading).chain2)),
		"trust_model":     system(checking((*reading).modelPayload)),
		"principal":       both(checking((*reading).principal1), checking((*reading).principal2)),
		"witness":         system(checking((*reading).witnessPayload)),
		"quorum":          system(checking((*reading).quorum)),
		"module":          system((*reading).module),
		"module_run":      both(checking((*reading).run1), checking((*reading).run2)),
		"proposal":        both(checking((*reading).proposal)),
		"attestation":     both((*reading).attestationRecord),
		"schema":          system((*reading).schemaRecord),
		"key_retirement":  system(keyRetirement(1), keyRetirement(2)),
		"restoration":     system((*reading).restoration),
		"erasure":         system((*reading).erasure),
		"erased":          system((*reading).erased),
		"suspension":      system((*reading).suspension),
		"feed_grant":      system((*reading).feedGrant),
		"caller_head":     both(checking((*reading).callerHead)),
		"flip_report":     both((*reading).flipReport),
		"tombstone":       both((*reading).tombstone),
		"proposal_ending": both((*reading).proposalEnding),
	}
}

func (r *reading) checkPayload(body *Body) {
	known, isKnown := schemas[body.Kind]
	if !isKnown {
		if body.Space == SystemSpace {
			r.refuse("kind", "", "is unknown and the system space holds known kinds only")
		}
		return
	}
	if known.isSystem && body.Space != SystemSpace {
		r.refuse("space", "", "must be system for kind "+body.Kind)
		return
	}
	if body.SchemaVersion > len(known.versions) {
		numbers := make([]string, 0, len(known.versions))
		for version := range known.versions {
			numbers = append(numbers, fmt.Sprint(version+1))
		}
		r.refuse("schema_version", "", fmt.Sprintf("must be %s for kind %s", strings.Join(numbers, " or "), body.Kind))
		return
	}
	known.versions[body.SchemaVersion-1](r, body.Payload)
}

const payloadPath = "payload"

func (r *reading) payload(value any, keys string, optional ...string) fields {
	return r.mapOf(value, true, payloadPath, words(keys), optional...)
}

func (r *reading) module(value any) {
	f := r.payload(value, "digest min_loa capabilities limits")
	limits := f.inner("limits", words("wall_ms memory_pages output_bytes"))
	distinct(f, "capabilities", list(f, "capabilities", entriesMax, textItem), "must be distinct")
	f.hash("digest")
	f.oneOf("min_loa", Levels...)
	limits.uintFrom1("wall_ms")
	limits.uintFrom1("memory_pages")
	limits.uintFrom1("output_bytes")
}

func (r *reading) attestationRecord(value any) {
	f := r.payload(value, "proposal witness role statement")
	f.someBytes("statement")
	f.text("proposal")
	f.text("witness")
	f.oneOf("role", "approve", "reject", "possession")
}

func (r *reading) schemaRecord(value any) {
	f := r.payload(value, "kind schema")
	f.text("kind")
	r.anyMap(f.get("schema"), true, f.at("schema"))
}

func (r *reading) restoration(value any) {
	f := r.payload(value, "size checkpoint backup")
	f.uint64("size")
	f.text("checkpoint")
	f.text("backup")
}

func (f fields) erasable(name string) {
	tenant := f.anyText(name)
	switch fault := tenantFault(tenant); {
	case tenant == SystemTenant:
		f.no(name, "must not be system: nothing would verify without its records")
	case tenant == "public":
		f.no(name, "must not be public: it is whoever calls without credentials")
	case fault != "":
		f.no(name, fault)
	}
}

func (r *reading) erasure(value any) {
	f := r.payload(value, "tenant reason")
	f.erasable("tenant")
	f.anyText("reason")
}

func (r *reading) erased(value any) {
	f := r.payload(value, "tenant order records positions")
	f.erasable("tenant")
	f.hash("order")
	f.uint64("records")
	f.hash("positions")
}

func (r *reading) suspension(value any) {
	f := r.payload(value, "reason by")
	f.text("reason")
	f.text("by")
}

const feedGrantItemsMax = 1024

func (r *reading) feedGrant(value any) {
	f := r.payload(value, "tenants kinds spaces")
	f.granted("tenants", tenantFault)
	f.granted("kinds", func(kind string) string {
		if len(kind) > kindBytesMax {
			return fmt.Sprintf("must be at most %d bytes", kindBytesMax)
		}
		return ""
	})
	f.granted("spaces", func(space string) string {
		if space != UserSpace && space != SystemSpace {
			return "must be one of user, system"
		}
		return ""
	})
}

// granted is `*` alone, or names by a rule.
func (f fields) granted(name string, fault func(item string) string) {
	const all = "*"
	items := list(f, name, feedGrantItemsMax, textItem)
	distinct(f, name, items, "must be distinct")
	if len(items) == 1 && items[0] == all {
		return
	}
	for index, item := range items {
		rule := fault(item)
		if item == all {
			rule = "must stand alone"
		}
		if rule != "" {
			f.refuse(fmt.Sprintf("%s[%d]", f.at(name), index), "", rule)
		}
	}
}

// CallerHead says how many decisions a caller has at the record's place in the ledger.
type CallerHead struct {
	Caller string
	Seq    uint64
}

func (r *reading) callerHead(value any) CallerHead {
	f := r.payload(value, "caller seq")
	return CallerHead{f.text("caller"), f.uint("seq")}
}

const flipDecisionsMax = 1000

func (r *reading) flipReport(value any) {
	f := r.payload(value, "proposal model size scored erased flips")
	below := f.uint64("size")
	scored := f.uintWithin("scored", 0, flipDecisionsMax)
	list(f, "flips", int(scored), func(item fields) struct{} {
		flip := item.itemMap(words("position record from to"))
		from, to := flip.oneOf("from", verdicts...), flip.oneOf("to", verdicts...)
		if from == to {
			flip.no("to", "must differ from the recorded verdict")
		}
		position := flip.uint64("position")
		flip.hash("record")
		if position >= below {
			flip.no("position", "must be below the size and the position before")
		}
		below = position
		return struct{}{}
	})
	f.text("proposal")
	f.hash("model")
	f.uint("erased")
}

func (r *reading) tombstone(value any) { r.payload(value, "kind").text("kind") }

// Proposal is what a proposal's record says.
type Proposal struct {
	// Body is the exact body that would be committed, not decoded here.
	Body []byte
	// With are further bodies of the same commit, each of which Body links to.
	With [][]byte
	// Base is the hash of the version that it would replace; nil if there is none.
	Base      *Hash
	Epoch     uint64
	ExpiresMs uint64
	// Proposer is a principal's id.
	Proposer string
	Reason   string
	Commit   string
}

const withMax = 8

func (r *reading) proposal(value any) Proposal {
	f := r.payload(value, "body with base epoch expires_ts proposer reason commit")
	return Proposal{
		Body: f.someBytes("body"),
		With: list(f, "with", withMax, func(item fields) []byte {
			body, _ := item.get(itemKey).([]byte)
			if len(body) == 0 {
				item.no("", "must be a non-empty byte string")
			}
			return body
		}),
		Base:      f.hashOrNull("base"),
		Epoch:     f.uint("epoch"),
		ExpiresMs: f.uint("expires_ts"),
		Proposer:  f.text("proposer"),
		Reason:    f.anyText("reason"),
		Commit:    f.oneOf("commit", "auto", "separate"),
	}
}

func (r *reading) proposalEnding(value any) {
	f := r.payload(value, "proposal outcome reason")
	f.text("proposal")
	f.oneOf("outcome", "committed", "rejected", "withdrawn", "expired", "superseded")
	f.anyText("reason")
}
