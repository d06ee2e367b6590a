// Command modzip makes the files of which a Go module proxy consists, from a module's folder: the list of versions, and
// the version's info, go.mod and zip, the last by the code of the go command itself. Source: the Go Modules Reference,
// "GOPROXY protocol" and "Module zip files".
//
//	modzip FOLDER VERSION PROXY
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: modzip FOLDER VERSION PROXY")
		os.Exit(2)
	}
	path, err := publish(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, "modzip:", err)
		os.Exit(1)
	}
	fmt.Println(path)
}

// publish returns the path of the zip.
func publish(folder, version, proxy string) (string, error) {
	manifest, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	if err != nil {
		return "", err
	}
	named := module.Version{Path: modfile.ModulePath(manifest), Version: version}
	if err := module.Check(named.Path, named.Version); err != nil {
		return "", err
	}
	escaped, err := module.EscapePath(named.Path)
	if err != nil {
		return "", err
	}
	place := filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(place, 0o755); err != nil {
		return "", err
	}
	// A fixed time: equal sources are equal files.
	info, err := json.Marshal(map[string]any{"Version": version, "Time": time.Unix(0, 0).UTC()})
	if err != nil {
		return "", err
	}
	for name, content := range map[string][]byte{
		"list":            []byte(version + "\n"),
		version + ".info": info,
		version + ".mod":  manifest,
	} {
		if err := os.WriteFile(filepath.Join(place, name), content, 0o644); err != nil {
			return "", err
		}
	}
	target := filepath.Join(place, version+".zip")
	return target, writeZip(target, named, folder)
}

func writeZip(target string, named module.Version, folder string) (err error) {
	file, err := os.Create(target)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return zip.CreateFromDir(file, named, folder)
}
