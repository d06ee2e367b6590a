package verify_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigil.example/go/internal/ledgers"
	"sigil.example/go/verify"
	"sigil.example/go/verify/cbor"
	"sigil.example/go/verify/cose"
	"sigil.example/go/verify/merkle"
	"sigil.example/go/verify/record"
)

func stored(ledger *ledgers.Ledger, positions ...uint64) []verify.StoredRecord {
	var records []verify.StoredRecord
	for _, position := range positions {
		records = append(records, verify.StoredRecord{Position: position, Envelope: ledger.Envelopes[position]})
	}
	return records
}

func genesisOf(t testing.TB, ledger *ledgers.Ledger) verify.Hash {
	t.Helper()
	envelope, err := record.DecodeEnvelope(ledger.Envelopes[0])
	if err != nil {
		t.Fatal(err)
	}
	statement, err := cose.ParseStatement(envelope.Statement)
	if err != nil {
		t.Fatal(err)
	}
	return verify.Hash(record.HashOf(statement.Payload))
}

func walkOf(t testing.TB, ledger *ledgers.Ledger, positions ...uint64) *verify.Keys {
	t.Helper()
	keys, err := verify.WalkKeys(genesisOf(t, ledger), stored(ledger, positions...))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func proofOf(ledger *ledgers.Ledger, position uint64) verify.RecordProof {
	return verify.RecordProof{
		StoredRecord: stored(ledger, position)[0],
		Path:         ledger.Path(position),
		Checkpoint:   ledger.Checkpoint(ledger.CheckpointKey),
	}
}

func expectError(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("%v; want %q", err, part)
	}
}

// retirement is the body of a retirement of a record key.
func retirement(key string, from int) *record.Body {
	thumbprint := cose.Thumbprint(ledgers.Public(key))
	id := "key_retirement/" + base64.RawURLEncoding.EncodeToString(thumbprint[:])
	return ledgers.System("key_retirement", id, cbor.Map{
		{Key: "role", Value: "record"}, {Key: "public_key", Value: ledgers.Public(key)}, {Key: "from", Value: from},
	})
}

func TestWalk(t *testing.T) {
	ledger := ledgers.New(t)
	ledger.Append(ledgers.Decision("d-1", "svc", 1, 1000))
	second := ledger.Announce("record", 2, "record 2")
	third := ledger.Announce("checkpoint", 2, "checkpoint 2")
	ledger.Append(ledgers.Decision("d-2", "svc", 2, 2000))
	retired := ledger.Append(retirement("record 1", int(second)))
	genesis := genesisOf(t, ledger)

	t.Run("gives the keys of every position", func(t *testing.T) {
		all := walkOf(t, ledger, 0, second, third, retired).All()
		var said []string
		for _, key := range all {
			said = append(said, key.Role+" "+key.State())
		}
		if got := strings.Join(said, ", "); got != "record retired, checkpoint ended, record active, checkpoint active" {
			t.Error(got)
		}
	})
	t.Run("trusts what a retired key signed before, and not what it signed after", func(t *testing.T) {
		keys := walkOf(t, ledger, 0, second, third, retired)
		if _, err := keys.Record(proofOf(ledger, 1)); err != nil {
			t.Error(err)
		}
		_, err := keys.Record(proofOf(ledger, second)) // The announcement of its successor, on its own.
		expectError(t, err, "valid up to position 1")
	})
	t.Run("refuses another genesis, another order, and what is not about keys", func(t *testing.T) {
		_, err := verify.WalkKeys(verify.Hash{}, stored(ledger, 0))
		expectError(t, err, "is not the expected")
		_, err = verify.WalkKeys(genesis, nil)
		expectError(t, err, "genesis record is missing")
		_, err = verify.WalkKeys(genesis, stored(ledger, second))
		expectError(t, err, "genesis record is missing")
		_, err = verify.WalkKeys(genesis, stored(ledger, 0, second, retired, third))
		expectError(t, err, "ledger order")
		_, err = verify.WalkKeys(genesis, stored(ledger, 0, second, second))
		expectError(t, err, "ledger order")
		_, err = verify.WalkKeys(genesis, stored(ledger, 0, 1))
		expectError(t, err, "says nothing about keys")
		_, err = verify.WalkKeys(genesis, stored(ledger, 0, third))
		expectError(t, err, "outside the key ring") // Its signer's announcement was left out.
	})
	t.Run("refuses announcements and retirements that break a rule", func(t *testing.T) {
		for _, broken := range []struct {
			body *record.Body
			part string
		}{
			{ledgers.System("signing_key", "signing_key/record/2", cbor.Map{
				{Key: "role", Value: "record"}, {Key: "public_key", Value: ledgers.Public("record 2")}, {Key: "valid_from", Value: 3},
			}), "the position after the record's"},
			{ledgers.System("signing_key", "signing_key/record/3", cbor.Map{
				{Key: "role", Value: "record"}, {Key: "public_key", Value: ledgers.Public("record 2")}, {Key: "valid_from", Value: 2},
			}), "the role's next key"},
			{ledgers.System("signing_key", "signing_key/record/2", cbor.Map{
				{Key: "role", Value: "record"}, {Key: "public_key", Value: ledgers.Public("checkpoint 1")},
				{Key: "valid_from", Value: 2},
			}), "already in the key ring"},
			{retirement("record 1", 1), "is in use"},
			{retirement("record 2", 1), "not in the key ring"},
			{retirement("record 1", 9), "past the record's position"},
		} {
			ledger := ledgers.New(t)
			position := ledger.Append(broken.body)
			_, err := verify.WalkKeys(genesisOf(t, ledger), stored(ledger, 0, position))
			expectError(t, err, broken.part)
		}
	})
	t.Run("refuses an announcement that the record key of its moment did not sign", func(t *testing.T) {
		ledger := ledgers.New(t)
		ledger.RecordKey = "stranger"
		position := ledger.Announce("record", 2, "record 2")
		_, err := verify.WalkKeys(genesisOf(t, ledger), stored(ledger, 0, position))
		expectError(t, err, "outside the key ring")
	})
	t.Run("trusts no key before its time, and none in another role", func(t *testing.T) {
		ledger := ledgers.New(t)
		ledger.RecordKey = "record 2"
		early := ledger.Append(note("notes/1"))
		ledger.RecordKey = "checkpoint 1"
		other := ledger.Append(note("notes/2"))
		ledger.RecordKey = "record 1"
		announced := ledger.Announce("record", 2, "record 2")
		keys := walkOf(t, ledger, 0, announced)
		_, err := keys.Record(proofOf(ledger, early))
		expectError(t, err, "fails key: signed by a key that is valid from position 4")
		_, err = keys.Record(proofOf(ledger, other))
		expectError(t, err, "fails key: signed by a checkpoint key, needs a record key")
		ledger.CheckpointKey = "record 2"
		_, err = keys.Record(proofOf(ledger, 0))
		expectError(t, err, "must be signed by the log's key")
	})
	t.Run("of nothing verifies nothing", func(t *testing.T) {
		for name, keys := range map[string]*verify.Keys{"nil": nil, "zero": {}} {
			if found, err := keys.Record(proofOf(ledger, 1)); err == nil || found != nil {
				t.Errorf("%s: a record", name)
			}
			if checkpoint, err := keys.Checkpoint(ledger.Checkpoint("checkpoint 2")); err == nil || checkpoint != nil {
				t.Errorf("%s: a checkpoint", name)
			}
			if decision, err := keys.Decision(proofOf(ledger, 1), verify.Question{}, verify.Answer{}); err == nil || decision != nil {
				t.Errorf("%s: a decision", name)
			}
			if err := keys.Completeness(verify.Completeness{After: proofOf(ledger, 1)}); err == nil {
				t.Errorf("%s: completeness", name)
			}
			if keys.Origin() != "" || keys.All() != nil {
				t.Errorf("%s: something is said", name)
			}
		}
	})
}

func TestRecord(t *testing.T) {
	ledger := ledgers.New(t)
	position := ledger.Append(ledgers.Decision("d-1", "svc", 1, 1000))
	announced := ledger.Announce("record", 2, "record 2")
	genesis := genesisOf(t, ledger)
	trust := verify.Trust{Genesis: &genesis}
	keyRecords := stored(ledger, 0, announced)
	proof := proofOf(ledger, position)

	t.Run("holds, and says what it found", func(t *testing.T) {
		result := verify.Record(proof, keyRecords, trust)
		findings, err := result.Findings()
		if err != nil || findings.Record.Body.ID != "d-1" || findings.Decision.Verdict != "allow" {
			t.Fatalf("%+v, %v", findings, err)
		}
		keys := walkOf(t, ledger, 0, announced)
		found, err := keys.Record(proof)
		if err != nil || found.Hash != findings.Record.Hash {
			t.Errorf("%+v, %v", found, err)
		}
	})
	for _, broken := range []struct {
		step   string
		change func(proof *verify.RecordProof, keyRecords *[]verify.StoredRecord, trust *verify.Trust)
	}{
		{"file", func(p *verify.RecordProof, _ *[]verify.StoredRecord, _ *verify.Trust) { p.Envelope = p.Envelope[1:] }},
		{"file", func(p *verify.RecordProof, _ *[]verify.StoredRecord, _ *verify.Trust) { p.Checkpoint += "x" }},
		{"genesis", func(_ *verify.RecordProof, _ *[]verify.StoredRecord, trust *verify.Trust) {
			trust.Genesis = &verify.Hash{}
		}},
		{"genesis", func(_ *verify.RecordProof, records *[]verify.StoredRecord, _ *verify.Trust) { *records = nil }},
		{"keys", func(_ *verify.RecordProof, records *[]verify.StoredRecord, _ *verify.Trust) {
			*records = append(*records, (*records)[1])
		}},
		{"signature", func(p *verify.RecordProof, _ *[]verify.StoredRecord, _ *verify.Trust) { p.Position = announced + 1 }},
		{"inclusion", func(p *verify.RecordProof, _ *[]verify.StoredRecord, _ *verify.Trust) { p.Position = 0 }},
		{"inclusion", func(p *verify.RecordProof, _ *[]verify.StoredRecord, _ *verify.Trust) { p.Path = p.Path[1:] }},
		{"inclusion", func(p *verify.RecordProof, _ *[]verify.StoredRecord, _ *verify.Trust) {
			p.Path = append([][]byte{make([]byte, 32)}, p.Path[1:]...)
		}},
		{"checkpoint", func(p *verify.RecordProof, _ *[]verify.StoredRecord, _ *verify.Trust) {
			p.Checkpoint = ledger.Checkpoint("stranger")
		}},
		{"trust", func(_ *verify.RecordProof, _ *[]verify.StoredRecord, trust *verify.Trust) { trust.Genesis = nil }},
		{"policy", func(_ *verify.RecordProof, _ *[]verify.StoredRecord, trust *verify.Trust) {
			trust.Policy = &merkle.Policy{}
		}},
	} {
		changed, records, own := proof, append([]verify.StoredRecord{}, keyRecords...), trust
		broken.change(&changed, &records, &own)
		result := verify.Record(changed, records, own)
		if step, found := result.FailedStep(); !found || step.Name != broken.step || result.IsVerified() {
			t.Errorf("refused by %+v, want %s", step, broken.step)
		}
	}
	t.Run("is refused under another subject, origin or schema", func(t *testing.T) {
		ledger := ledgers.New(t)
		body, err := record.EncodeBody(ledgers.Decision("d-1", "svc", 1, 1000))
		if err != nil {
			t.Fatal(err)
		}
		position := ledger.AppendBytes(body, "acme/user/d-2")
		keys := walkOf(t, ledger, 0)
		_, err = keys.Record(proofOf(ledger, position))
		expectError(t, err, "the statement's subject is not the record's")
		position = ledger.AppendBytes([]byte{0xa0}, "acme/user/d-1")
		_, err = keys.Record(proofOf(ledger, position))
		expectError(t, err, "fails schema")
	})
}

func TestDecision(t *testing.T) {
	ledger := ledgers.New(t)
	position := ledger.Append(ledgers.Decision("d-1", "svc", 7, 1000))
	keys := walkOf(t, ledger, 0)
	proof := proofOf(ledger, position)
	asked := verify.Question{Action: "read", Target: "/user//notes", Subject: "spiffe://" + ledgers.Origin + "/svc"}
	answer := verify.Answer{
		AuditID: "d-1", Verdict: "allow", IsAllowed: true, Reason: "SCORE_AT_OR_ABOVE_THRESHOLD", CallerSeq: 7, Subject: "svc",
	}
	t.Run("is proved by its record, in any spelling of what was asked", func(t *testing.T) {
		asked := asked
		asked.Subject = "svc"
		if decision, err := keys.Decision(proof, asked, answer); err != nil || decision.CallerSeq != 7 {
			t.Error(err)
		}
	})
	for name, change := range map[string]func(asked *verify.Question, answer *verify.Answer, proof *verify.RecordProof){
		"audit id":        func(_ *verify.Question, answer *verify.Answer, _ *verify.RecordProof) { answer.AuditID = "d-2" },
		"verdict":         func(_ *verify.Question, answer *verify.Answer, _ *verify.RecordProof) { answer.Verdict = "deny" },
		"allowed":         func(_ *verify.Question, answer *verify.Answer, _ *verify.RecordProof) { answer.IsAllowed = false },
		"reason":          func(_ *verify.Question, answer *verify.Answer, _ *verify.RecordProof) { answer.Reason = "OTHER" },
		"number":          func(_ *verify.Question, answer *verify.Answer, _ *verify.RecordProof) { answer.CallerSeq = 8 },
		"subject":         func(_ *verify.Question, answer *verify.Answer, _ *verify.RecordProof) { answer.Subject = "" },
		"action":          func(asked *verify.Question, _ *verify.Answer, _ *verify.RecordProof) { asked.Action = "write" },
		"target":          func(asked *verify.Question, _ *verify.Answer, _ *verify.RecordProof) { asked.Target = "user/other" },
		"another subject": func(asked *verify.Question, _ *verify.Answer, _ *verify.RecordProof) { asked.Subject = "other" },
		"is a genesis":    func(_ *verify.Question, _ *verify.Answer, proof *verify.RecordProof) { *proof = proofOf(ledger, 0) },
		"must lead to": func(_ *verify.Question, _ *verify.Answer, proof *verify.RecordProof) {
			proof.Path = [][]byte{make([]byte, 32)}
		},
		"exactly 1 hashes":   func(_ *verify.Question, _ *verify.Answer, proof *verify.RecordProof) { proof.Path = nil },
		"must end in a newl": func(_ *verify.Question, _ *verify.Answer, proof *verify.RecordProof) { proof.Checkpoint = "" },
	} {
		t.Run("is refused by "+name, func(t *testing.T) {
			asked, answer, proof := asked, answer, proof
			asked.Subject = "svc"
			change(&asked, &answer, &proof)
			decision, err := keys.Decision(proof, asked, answer)
			expectError(t, err, name)
			if decision != nil {
				t.Error("a decision came with the error")
			}
		})
	}
	t.Run("of a zero answer is refused", func(t *testing.T) {
		if _, err := keys.Decision(proof, asked, verify.Answer{}); err == nil {
			t.Error("was accepted")
		}
	})
	t.Run("may be verified by several goroutines", func(t *testing.T) {
		other := proofOf(ledger, 0)
		var group sync.WaitGroup
		for index := range 16 {
			group.Go(func() {
				each := proof
				if index%2 == 0 {
					each = other
				}
				if _, err := keys.Record(each); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	})
}

func TestGrowth(t *testing.T) {
	ledger := ledgers.New(t)
	keys := walkOf(t, ledger, 0)
	known, err := keys.Checkpoint(ledger.Checkpoint("checkpoint 1"))
	if err != nil {
		t.Fatal(err)
	}
	ledger.Append(ledgers.Decision("d-1", "svc", 1, 1000))
	note := ledger.Checkpoint("checkpoint 1")
	entry := record.EntryOf(ledger.Envelopes[1])
	leaf := merkle.LeafHash(entry[:])
	if newer, err := keys.Growth(known, note, [][]byte{leaf[:]}); err != nil || newer.Size != 2 {
		t.Errorf("%+v, %v", newer, err)
	}
	other := ledgers.New(t)
	other.Append(ledgers.Decision("d-2", "svc", 1, 1000))
	other.Append(ledgers.Decision("d-3", "svc", 2, 1000))
	newest, _ := keys.Checkpoint(note)
	root := other.Root()
	var fork *verify.Fork
	if _, err := keys.Growth(newest, other.Checkpoint("checkpoint 1"), [][]byte{root[:]}); !errors.As(err, &fork) {
		t.Errorf("%v, want a fork", err)
	}
	if _, err := keys.Growth(nil, note, nil); err == nil {
		t.Error("grew from nothing")
	}
}

func receiptOf(t *testing.T, ledger *ledgers.Ledger, position uint64, key string, subject string) []byte {
	t.Helper()
	protected, err := cbor.Encode(cbor.HeaderMap{
		{Key: 1, Value: -8}, {Key: 4, Value: thumbprint(key)}, {Key: 395, Value: 1},
		{Key: 15, Value: cbor.HeaderMap{{Key: 1, Value: ledgers.Origin}, {Key: 2, Value: subject}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := []any{}
	for _, hash := range ledger.Path(position) {
		path = append(path, hash)
	}
	proof, err := cbor.Encode([]any{uint64(len(ledger.Envelopes)), position, path})
	if err != nil {
		t.Fatal(err)
	}
	root := ledger.Root()
	signature := ed25519.Sign(ledgers.Key(key), cose.ToBeSigned(protected, root[:]))
	whole, err := cbor.Encode([]any{
		protected, cbor.HeaderMap{{Key: 396, Value: cbor.HeaderMap{{Key: -1, Value: []any{proof}}}}}, nil, signature,
	})
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte{0xd2}, whole...)
}

func thumbprint(key string) []byte {
	digest := cose.Thumbprint(ledgers.Public(key))
	return digest[:]
}

func TestReceiptsAndTlogProofs(t *testing.T) {
	ledger := ledgers.New(t)
	position := ledger.Append(ledgers.Decision("d-1", "svc", 1, 1000))
	ledger.Append(ledgers.Decision("d-2", "svc", 2, 1000))
	keys := walkOf(t, ledger, 0)
	entry := verify.Hash(sha256.Sum256(ledger.Envelopes[position]))
	want := verify.Inclusion{LeafIndex: position, TreeSize: 3, Root: verify.Hash(ledger.Root())}

	receipt := receiptOf(t, ledger, position, "checkpoint 1", "checkpoint/3")
	if inclusion, err := keys.Receipt(receipt, entry); err != nil || *inclusion != want {
		t.Errorf("%+v, %v", inclusion, err)
	}
	proof := merkle.TlogProof{LeafIndex: position, Checkpoint: ledger.Checkpoint("checkpoint 1")}
	for _, hash := range ledger.Path(position) {
		proof.Path = append(proof.Path, merkle.Hash(hash))
	}
	if inclusion, err := keys.TlogProof(proof.Format(), entry); err != nil || *inclusion != want {
		t.Errorf("%+v, %v", inclusion, err)
	}
	for at := range receipt {
		changed := append([]byte{}, receipt...)
		changed[at] ^= 0x11
		if _, err := keys.Receipt(changed, entry); err == nil {
			t.Errorf("a receipt with byte %d changed was accepted", at)
		}
	}
	_, err := keys.Receipt(receipt, verify.Hash{})
	expectError(t, err, "signature must verify")
	_, err = keys.Receipt(receiptOf(t, ledger, position, "record 1", "checkpoint/3"), entry)
	expectError(t, err, "must be signed by the log's key")
	_, err = keys.Receipt(receiptOf(t, ledger, position, "checkpoint 1", "checkpoint/2"), entry)
	expectError(t, err, "of the tree that was signed")
	_, err = keys.TlogProof(proof.Format(), verify.Hash{})
	expectError(t, err, "must lead to the root")
	proof.LeafIndex = 2
	_, err = keys.TlogProof(proof.Format(), entry)
	expectError(t, err, "tlog-proof: proof must hold exactly 1 hashes")
}

func TestCompleteness(t *testing.T) {
	ledger := ledgers.New(t)
	before := ledger.Append(ledgers.Decision("d-1", "svc", 1, 1000))
	ledger.Append(ledgers.Decision("d-2", "svc", 2, 2000))
	ledger.Append(ledgers.Decision("d-3", "svc", 3, 3000))
	after := ledger.Append(ledgers.Decision("d-4", "svc", 4, 4000))
	others := ledger.Append(ledgers.Decision("e-1", "other", 1, 4000))
	head := ledger.Append(ledgers.Head("svc", 4, 5000))
	keys := walkOf(t, ledger, 0)
	from, until := int64(2000), int64(4000)
	first := proofOf(ledger, before)
	whole := verify.Completeness{
		Tenant: "acme", Caller: "svc", FromMs: &from, UntilMs: &until,
		Before: &first, After: proofOf(ledger, after), End: verify.EndsWithDecision, Decisions: 2,
	}
	if err := keys.Completeness(whole); err != nil {
		t.Error(err)
	}
	late := int64(5000)
	byHead := whole
	byHead.UntilMs, byHead.After, byHead.End, byHead.Decisions = &late, proofOf(ledger, head), verify.EndsWithHead, 3
	if err := keys.Completeness(byHead); err != nil {
		t.Error(err)
	}
	newest := whole
	newest.UntilMs, newest.End, newest.Decisions = nil, verify.EndsWithNewest, 3
	if err := keys.Completeness(newest); err != nil {
		t.Error(err)
	}
	none := whole
	none.Before, none.FromMs, none.Decisions = nil, nil, 3
	if err := keys.Completeness(none); err != nil {
		t.Error(err)
	}
	for part, change := range map[string]func(claim *verify.Completeness){
		"other than 1 decisions":           func(c *verify.Completeness) { c.Decisions = 1 },
		"the last is not the caller's":     func(c *verify.Completeness) { c.After = proofOf(ledger, others) },
		"the first is not the caller's":    func(c *verify.Completeness) { p := proofOf(ledger, others); c.Before = &p },
		"does not end as it says":          func(c *verify.Completeness) { c.End = verify.EndsWithHead },
		"does not say how the span ends":   func(c *verify.Completeness) { c.End = "" },
		"the first is not before the span": func(c *verify.Completeness) { from := int64(1000); c.FromMs = &from },
		"the last is not after the span":   func(c *verify.Completeness) { until := int64(4001); c.UntilMs = &until },
		"order of the ledger":              func(c *verify.Completeness) { c.After = *c.Before },
		"the first is no decision":         func(c *verify.Completeness) { p := proofOf(ledger, head); c.Before = &p },
		"a genesis has no number":          func(c *verify.Completeness) { c.After = proofOf(ledger, 0) },
		"must lead to the root":            func(c *verify.Completeness) { c.After.Path[0] = make([]byte, 32) },
		"other than 2 decisions":           func(c *verify.Completeness) { c.Before, c.FromMs = nil, nil },
		"is not the caller's":              func(c *verify.Completeness) { c.Before, c.FromMs, c.Tenant = nil, nil, "other" },
	} {
		claim := whole
		claim.After = proofOf(ledger, after)
		change(&claim)
		expectError(t, keys.Completeness(claim), part)
	}
}

// note is the body of a user's record.
func note(id string) *record.Body {
	return &record.Body{
		Kind: "note", SchemaVersion: 1, ID: id, Tenant: "acme", TimeMs: 1, Space: "user", Payload: cbor.Map{},
	}
}

func encoded(t *testing.T, body *record.Body) []byte {
	t.Helper()
	raw, err := record.EncodeBody(body)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestEvidenceOfLedgersMadeByHand(t *testing.T) {
	expect := func(t *testing.T, ledger *ledgers.Ledger, file []byte, step, part string) {
		t.Helper()
		genesis := genesisOf(t, ledger)
		result := verify.Evidence(file, verify.Trust{Genesis: &genesis})
		failed, _ := result.FailedStep()
		if failed.Name != step || !strings.Contains(failed.Detail, part) || result.IsVerified() != (step == "") {
			t.Errorf("%+v, want %s: %s", failed, step, part)
		}
	}
	t.Run("hold for a user's record", func(t *testing.T) {
		ledger := ledgers.New(t)
		position := ledger.Append(note("notes/1"))
		expect(t, ledger, ledger.Evidence(position, 0, position), "", "")
	})
	t.Run("are refused where a statement names another origin", func(t *testing.T) {
		ledger := ledgers.New(t)
		body := note("notes/1")
		position := ledger.AppendStatement(ledgers.SignAt(
			t, "ledger.example/other", "record 1", cose.RecordContentType, body.Subject(), encoded(t, body)))
		expect(t, ledger, ledger.Evidence(position, 0, position), "record", "the statement names another origin")
		_, err := walkOf(t, ledger, 0).Record(proofOf(ledger, position))
		expectError(t, err, "the statement names another origin")
	})
	t.Run("are refused where a statement is over no record", func(t *testing.T) {
		ledger := ledgers.New(t)
		body := note("notes/1")
		position := ledger.AppendStatement(ledgers.Sign(
			t, "record 1", cose.AttestationContentType, body.Subject(), encoded(t, body)))
		expect(t, ledger, ledger.Evidence(position, 0, position), "file", "the statement is not over a record")
	})
	t.Run("are refused where a decision's model is none, or is missing", func(t *testing.T) {
		ledger := ledgers.New(t)
		other := note("notes/1")
		model := ledger.Append(other)
		decision := ledgers.Decision("d-1", "svc", 1, 1000)
		decision.Links[0].Target = record.HashOf(encoded(t, other))
		position := ledger.Append(decision)
		expect(t, ledger, ledger.Evidence(position, 0, model, position), "record", "what the decision names is no model")
		expect(t, ledger, ledger.Evidence(position, 0, position), "record", "which is missing")
	})
	t.Run("are refused with two registries, or a witness's record missing", func(t *testing.T) {
		ledger := ledgers.New(t)
		quorum := ledgers.System("quorum", "quorum", cbor.Map{
			{Key: "k", Value: 1}, {Key: "witnesses", Value: []any{"ann"}}, {Key: "epoch", Value: 1},
		})
		first, second := ledger.Append(quorum), ledger.Append(quorum)
		witness := ledger.Append(ledgers.System("witness", "witness/ann", cbor.Map{
			{Key: "public_key", Value: ledgers.Public("ann")}, {Key: "owner", Value: "Ann"}, {Key: "authority", Value: ""},
			{Key: "description", Value: ""},
		}))
		position := ledger.Append(note("notes/1"))
		expect(t, ledger, ledger.Evidence(position, 0, first, witness, position), "", "")
		expect(t, ledger, ledger.Evidence(position, 0, first, second, witness, position), "record", "more than one registry")
		expect(t, ledger, ledger.Evidence(position, 0, first, position), "record", "whose record is missing")
	})
	t.Run("are refused with records or nodes in another order, or twice", func(t *testing.T) {
		ledger := ledgers.New(t)
		for _, id := range []string{"notes/1", "notes/2", "notes/3"} {
			ledger.Append(note(id))
		}
		const order = "must stand at a position after the one before"
		expect(t, ledger, ledger.Evidence(1, 0, 1, 1), "file", order)
		expect(t, ledger, ledger.Evidence(1, 0, 3, 1), "file", order)
		expect(t, ledger, ledger.Evidence(2, 0, 1), "file", "must be that of one of the records")
		expect(t, ledger, ledger.Evidence(1, 1), "file", "must begin with position 0")
		file := ledger.Evidence(1, 0, 1)
		expect(t, ledger, file, "", "")
		expect(t, ledger, withNodesTurned(t, file), "file", "must stand in the order in which paths name them")
	})
	t.Run("are refused where the checkpoint is another key's, or of another size", func(t *testing.T) {
		ledger := ledgers.New(t)
		position := ledger.Append(note("notes/1"))
		ledger.CheckpointKey = "stranger"
		expect(t, ledger, ledger.Evidence(position, 0, position), "checkpoint", "must be signed by the log's key")
	})
}

// withNodesTurned is the same evidence with its nodes in the reverse order, and the paths' indexes with them.
func withNodesTurned(t *testing.T, file []byte) []byte {
	t.Helper()
	value, err := cbor.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	fields := value.(cbor.Map)
	nodes, _ := fields.Get("nodes")
	count := len(nodes.([]any))
	slices.Reverse(nodes.([]any))
	records, _ := fields.Get("records")
	for _, each := range records.([]any) {
		path, _ := each.(cbor.Map).Get("path")
		for index, node := range path.([]any) {
			path.([]any)[index] = int64(count-1) - node.(int64)
		}
	}
	turned, err := cbor.Encode(fields)
	if err != nil {
		t.Fatal(err)
	}
	return turned
}
