// Where numbers are kept. A file has the highest of one caller of one ledger, written beside it, synced and renamed, so
// that a crash leaves the old one or the new one. Several processes, in any language, may share it: each write begins
// with what is there, under a lock that is held for that long. Source: docs/spec/completeness.md §4.

package sigil

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"
)

const (
	numberFileVersion  = 1
	numberFileBytesMax = 64 << 10
	// A lock is held for one read and one write of a small file; one that a crash left behind is taken over after this.
	numberLockMax   = 10 * time.Second
	numberLockPause = 5 * time.Millisecond
)

type memoryNumbers struct {
	mu   sync.Mutex
	held CallerNumber
}

// MemoryNumbers keeps numbers for as long as the process runs.
func MemoryNumbers() NumberStore { return &memoryNumbers{} }

func (m *memoryNumbers) Load(context.Context) (CallerNumber, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.held, nil
}

func (m *memoryNumbers) Save(_ context.Context, number CallerNumber) (CallerNumber, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = higherOf(m.held, number)
	return m.held, nil
}

// NumberedCaller is whose numbers they are: each part names the same for as long as it lives.
type NumberedCaller struct {
	// Origin is the deployment's.
	Origin string
	Tenant string
	// Caller is the principal's id.
	Caller string
}

type fileNumbers struct {
	path  string
	whose NumberedCaller
}

// FileNumbers keeps numbers in a file. It fails if the file is of another caller or ledger, or is none.
func FileNumbers(path string, whose NumberedCaller) NumberStore { return &fileNumbers{path, whose} }

type numberFile struct {
	Version  int    `json:"version"`
	Origin   string `json:"origin"`
	Tenant   string `json:"tenant"`
	Caller   string `json:"caller"`
	Seq      string `json:"seq"`
	Position string `json:"position"`
	AuditID  string `json:"audit_id"`
}

var decimalText = regexp.MustCompile(`^[0-9]{1,20}$`)

func (f *fileNumbers) refuse(format string, parts ...any) error {
	return fmt.Errorf("sigil: %s: %s", f.path, fmt.Sprintf(format, parts...))
}

func (f *fileNumbers) number(name, text string) (uint64, error) {
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil || !decimalText.MatchString(text) {
		return 0, f.refuse("%s must be decimal text", name)
	}
	return number, nil
}

func (f *fileNumbers) Load(context.Context) (CallerNumber, error) {
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return CallerNumber{}, nil
	}
	if err != nil {
		return CallerNumber{}, err
	}
	defer func() { _ = file.Close() }() // Only read.
	text, err := io.ReadAll(io.LimitReader(file, numberFileBytesMax+1))
	if err != nil {
		return CallerNumber{}, err
	}
	var held numberFile
	if len(text) > numberFileBytesMax || json.Unmarshal(text, &held) != nil || held.Version != numberFileVersion {
		return CallerNumber{}, f.refuse("is no file of remembered numbers, version %d", numberFileVersion)
	}
	for _, part := range [][3]string{
		{"origin", held.Origin, f.whose.Origin}, {"tenant", held.Tenant, f.whose.Tenant}, {"caller", held.Caller, f.whose.Caller},
	} {
		if part[1] != part[2] {
			return CallerNumber{}, f.refuse("is of %s %q, and not of %q", part[0], part[1], part[2])
		}
	}
	seq, err := f.number("seq", held.Seq)
	if err != nil {
		return CallerNumber{}, err
	}
	position, err := f.number("position", held.Position)
	if err != nil {
		return CallerNumber{}, err
	}
	return CallerNumber{seq, position, held.AuditID}, nil
}

func (f *fileNumbers) Save(ctx context.Context, number CallerNumber) (CallerNumber, error) {
	unlock, err := f.lock(ctx)
	if err != nil {
		return CallerNumber{}, err
	}
	defer unlock()
	held, err := f.Load(ctx)
	if err != nil {
		return CallerNumber{}, err
	}
	if held.Seq >= number.Seq {
		return held, nil
	}
	return number, f.replace(number)
}

func (f *fileNumbers) lock(ctx context.Context) (unlock func(), err error) {
	lock := f.path + ".lock"
	for {
		held, err := os.OpenFile(lock, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			_ = held.Close() // Nothing is written.
			return func() { _ = os.Remove(lock) }, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		// Two who take it over at once lose at most one of two numbers that both hold in memory: the next write has it.
		if found, err := os.Lstat(lock); err == nil && time.Since(found.ModTime()) > numberLockMax {
			_ = os.Remove(lock)
		} else if !sleep(ctx, numberLockPause) {
			return nil, ctx.Err()
		}
	}
}

func (f *fileNumbers) replace(number CallerNumber) error {
	text, err := json.Marshal(numberFile{
		numberFileVersion, f.whose.Origin, f.whose.Tenant, f.whose.Caller,
		strconv.FormatUint(number.Seq, 10), strconv.FormatUint(number.Position, 10), number.AuditID,
	})
	if err != nil {
		return err
	}
	beside := f.path + ".new"
	file, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = file.Write(append(text, '\n')); err == nil {
		err = file.Sync()
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(beside, f.path); err != nil {
		return err
	}
	// Windows opens no directories.
	if directory, err := os.Open(filepath.Dir(f.path)); err == nil {
		_ = directory.Sync()
		_ = directory.Close()
	}
	return nil
}
