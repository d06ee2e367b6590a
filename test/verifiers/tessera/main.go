// Checks a tiled log by Tessera's fsck, the package: its command of this version exits with 0 whatever it finds. Reads
// everything of the log at a URL, http: or file:, with the origin and Ed25519 key (hexadecimal) that are given. Prints
// "ok SIZE" or "refused: why".
package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
)

func leavesOf(bundle []byte) ([][]byte, error) {
	var entries api.EntryBundle
	if err := entries.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var leaves [][]byte
	for _, entry := range entries.Entries {
		leaves = append(leaves, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return leaves, nil
}

func fetcherOf(text string) (fsck.Fetcher, error) {
	root, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	if root.Scheme == "file" {
		return client.FileFetcher{Root: root.Path}, nil
	}
	return client.NewHTTPFetcher(root, nil)
}

func check(where, origin, key string) (uint64, error) {
	public, err := hex.DecodeString(key)
	if err != nil {
		return 0, err
	}
	text, err := note.NewEd25519VerifierKey(origin, ed25519.PublicKey(public))
	if err != nil {
		return 0, err
	}
	verifier, err := note.NewVerifier(text)
	if err != nil {
		return 0, err
	}
	fetcher, err := fetcherOf(where)
	if err != nil {
		return 0, err
	}
	ctx := context.Background()
	if err := fsck.New(origin, verifier, fetcher, leavesOf, fsck.Opts{N: 4}).Check(ctx); err != nil {
		return 0, err
	}
	checkpoint, _, _, err := client.FetchCheckpoint(ctx, fetcher.ReadCheckpoint, verifier, origin)
	if err != nil {
		return 0, err
	}
	return checkpoint.Size, nil
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: tessera-fsck URL ORIGIN KEY")
		os.Exit(2)
	}
	size, err := check(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Printf("refused: %v\n", err)
		return
	}
	fmt.Printf("ok %d\n", size)
}
