// Command sigil-verify verifies evidence files, step by step, on this machine alone: no network, no server.
//
//	sigil-verify FILE… [-genesis HASH] [-policy FILE] [-json]
//
// It exits with 0 if every step of every file holds, with 1 if one does not or nobody vouches for it, and with 2 for
// what cannot be read as evidence and for usage errors; of several files with the worst.
package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"sigil.example/go/verify"
	"sigil.example/go/verify/cbor"
	"sigil.example/go/verify/merkle"
	"sigil.example/go/verify/record"
)

// Exit codes.
const (
	holds      = 0
	doesNot    = 1
	unreadable = 2
)

const policyBytesMax = 512 << 10

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

type options struct {
	paths  []string
	trust  verify.Trust
	asJSON bool
}

func run(arguments []string, input io.Reader, output, notes io.Writer) int {
	given, err := parse(arguments, notes)
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(notes, "sigil-verify: %s\n", visible(err.Error()))
		}
		return unreadable
	}
	worst := holds
	for index, path := range given.paths {
		file, err := read(path, input, verify.FileBytesMax)
		if err != nil {
			fmt.Fprintf(notes, "sigil-verify: %s %s\n", visible(path), err)
			worst = unreadable
			continue
		}
		result := verify.Evidence(file, given.trust)
		if given.asJSON {
			err = printJSON(output, path, result)
		} else {
			err = printText(output, path, result, index == 0)
		}
		if err != nil {
			fmt.Fprintln(notes, "sigil-verify: the result cannot be written")
			return unreadable
		}
		worst = max(worst, exitOf(result))
	}
	return worst
}

// exitOf: a file that cannot be read is no evidence, for or against.
func exitOf(result verify.Result) int {
	if result.IsVerified() {
		return holds
	}
	if step, found := result.FailedStep(); found && step.Name == "file" {
		return unreadable
	}
	return doesNot
}

// parse takes flags before, between and after the files.
func parse(arguments []string, notes io.Writer) (options, error) {
	flags := flag.NewFlagSet("sigil-verify", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	genesis := flags.String("genesis", "", "the genesis record's `hash`, that sigil init printed")
	policy := flags.String("policy", "", "a `file`: the log's key, and whose cosignatures a checkpoint needs")
	asJSON := flags.Bool("json", false, "print one line of JSON for each file")
	usage := func() {
		fmt.Fprintln(notes, "usage: sigil-verify FILE… [-genesis HASH] [-policy FILE] [-json]; - is standard input")
		flags.SetOutput(notes)
		flags.PrintDefaults()
	}
	flags.Usage = func() {}
	given := options{}
	for rest := arguments; len(rest) > 0; {
		if err := flags.Parse(rest); err != nil {
			usage()
			return options{}, err
		}
		if rest = flags.Args(); len(rest) > 0 {
			given.paths = append(given.paths, rest[0])
			rest = rest[1:]
		}
	}
	if len(given.paths) == 0 {
		usage()
		return options{}, errors.New("there is no file to verify")
	}
	given.asJSON = *asJSON
	isGiven := map[string]bool{}
	flags.Visit(func(each *flag.Flag) { isGiven[each.Name] = true })
	if isGiven["genesis"] {
		from, err := verify.FromGenesis(*genesis)
		if err != nil {
			return options{}, fmt.Errorf("-genesis: %w", err)
		}
		given.trust.Genesis = from.Genesis
	}
	if isGiven["policy"] {
		text, err := read(*policy, nil, policyBytesMax)
		if err != nil {
			return options{}, fmt.Errorf("-policy: %w", err)
		}
		from, err := verify.FromPolicy(text)
		if err != nil {
			return options{}, fmt.Errorf("-policy: %w", err)
		}
		given.trust.Policy = from.Policy
	}
	return given, nil
}

// read takes at most so many bytes. Its errors do not hold the path, which the caller names.
func read(path string, input io.Reader, bytesMax int64) ([]byte, error) {
	source := input
	if path != "-" || input == nil {
		file, err := os.Open(path)
		if err != nil {
			return nil, errors.New("cannot be read")
		}
		defer func() { _ = file.Close() }() // Only read.
		source = file
	}
	content, err := io.ReadAll(io.LimitReader(source, bytesMax+1))
	if err != nil {
		return nil, errors.New("cannot be read")
	}
	if int64(len(content)) > bytesMax {
		return nil, fmt.Errorf("is longer than %d bytes", bytesMax)
	}
	return content, nil
}

// visible is text of strangers on one line of a terminal: U+FFFD in place of each character that cannot be seen.
func visible(text string) string {
	return strings.Map(func(character rune) rune {
		if character == ' ' || unicode.IsPrint(character) {
			return character
		}
		return unicode.ReplacementChar
	}, text)
}

func printText(output io.Writer, path string, result verify.Result, isFirst bool) error {
	var text strings.Builder
	if !isFirst {
		text.WriteString("\n")
	}
	verdict := "NOT VERIFIED"
	if result.IsVerified() {
		verdict = "VERIFIED"
	}
	fmt.Fprintf(&text, "%s  %s\n\n", verdict, visible(path))
	for _, step := range result.Steps() {
		fmt.Fprintf(&text, "%-12s %-8s %s\n", step.Name, step.Outcome, visible(step.Detail))
	}
	if findings, err := result.Findings(); err == nil {
		text.WriteString("\n")
		for _, pair := range facts(findings) {
			fmt.Fprintf(&text, "%-10s %s\n", pair[0], visible(pair[1]))
		}
	}
	_, err := io.WriteString(output, text.String())
	return err
}

func timeOf(body *record.Body) string {
	return time.UnixMilli(body.TimeMs).UTC().Format("2006-01-02T15:04:05.000Z")
}

func whoOf(principal string) string {
	if principal == "" {
		return "anonymous"
	}
	return principal
}

func facts(findings verify.Findings) [][2]string {
	found := findings.Record
	body := found.Body
	pairs := [][2]string{
		{"record", body.Kind + " " + body.ID},
		{"tenant", body.Tenant},
		{"time", timeOf(body)},
		{"position", strconv.FormatUint(found.Position, 10)},
		{"hash", found.Hash.String()},
	}
	decision := findings.Decision
	if decision == nil {
		return pairs
	}
	pairs = append(pairs,
		[2]string{"caller", whoOf(decision.Request.Caller)},
		[2]string{"subject", whoOf(decision.Request.Subject) + ", " + decision.Request.Level},
		[2]string{"action", decision.Request.Action},
		[2]string{"target", decision.Request.Target},
		[2]string{"verdict", decision.Verdict},
		[2]string{"reason", decision.Reason},
	)
	if decision.Z != nil {
		pairs = append(pairs, [2]string{"z", strconv.FormatFloat(*decision.Z, 'g', -1, 64) + " logits"})
	}
	return pairs
}

// view is what one line of JSON says. Nothing but the steps is said of what is not verified.
type view struct {
	File       string          `json:"file"`
	Verified   bool            `json:"verified"`
	Steps      []verify.Step   `json:"steps"`
	Genesis    *verify.Hash    `json:"genesis,omitempty"`
	Checkpoint *checkpointView `json:"checkpoint,omitempty"`
	Cosigned   *[]string       `json:"cosigned,omitempty"`
	Record     *recordView     `json:"record,omitempty"`
	Replay     any             `json:"replay,omitempty"`
}

type checkpointView struct {
	Origin string `json:"origin"`
	Size   string `json:"size"`
	Root   string `json:"root"`
}

type recordView struct {
	Position string      `json:"position"`
	Hash     verify.Hash `json:"hash"`
	Kind     string      `json:"kind"`
	ID       string      `json:"id"`
	Tenant   string      `json:"tenant"`
	Space    string      `json:"space"`
	Time     string      `json:"time"`
	Payload  any         `json:"payload"`
}

func viewOf(path string, result verify.Result) view {
	shown := view{File: path, Verified: result.IsVerified(), Steps: result.Steps()}
	findings, err := result.Findings()
	if err != nil {
		return shown
	}
	shown.Genesis = findings.Genesis
	shown.Checkpoint = checkpointOf(findings.Checkpoint)
	if findings.Cosigned != nil {
		shown.Cosigned = &findings.Cosigned
	}
	body := findings.Record.Body
	shown.Record = &recordView{
		Position: strconv.FormatUint(findings.Record.Position, 10), Hash: findings.Record.Hash, Kind: body.Kind,
		ID: body.ID, Tenant: body.Tenant, Space: body.Space, Time: timeOf(body), Payload: jsonOf(body.Payload),
	}
	if findings.Replay != nil {
		shown.Replay = findings.Replay
	}
	return shown
}

func checkpointOf(checkpoint *merkle.Checkpoint) *checkpointView {
	size := strconv.FormatUint(checkpoint.Size, 10)
	return &checkpointView{checkpoint.Origin, size, verify.Hash(checkpoint.Root).String()}
}

func printJSON(output io.Writer, path string, result verify.Result) error {
	encoder := json.NewEncoder(output)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(viewOf(path, result))
}

// jsonOf is a payload for a reader: integers that JSON's readers would round are decimal text, byte strings base64.
func jsonOf(value any) any {
	switch typed := value.(type) {
	case int64:
		if typed > cbor.SafeMax || typed < -cbor.SafeMax {
			return strconv.FormatInt(typed, 10)
		}
		return typed
	case uint64:
		return strconv.FormatUint(typed, 10)
	case []byte:
		return base64.StdEncoding.EncodeToString(typed)
	case []any:
		values := make([]any, 0, len(typed))
		for _, item := range typed {
			values = append(values, jsonOf(item))
		}
		return values
	case cbor.Map:
		object := make(map[string]any, len(typed))
		for _, entry := range typed {
			object[entry.Key] = jsonOf(entry.Value)
		}
		return object
	default:
		return value
	}
}
