package main

import (
	"fmt"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagsFromEnvironment fills flags that weren't given from MODELOG_<FLAG>.
func (a *app) flagsFromEnvironment(cmd *cobra.Command) error {
	var failed error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" {
			return
		}
		name := "MODELOG_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if f.Name == "server" {
			name = "MODELOG_URL"
		}
		value := a.getenv(name)
		if value == "" {
			return
		}
		if err := cmd.Flags().Set(f.Name, value); err != nil && failed == nil {
			failed = usage("%s: %v", name, err)
		}
	})
	return failed
}

// dataDirectory is where a registry lives unless told otherwise.
func (a *app) dataDirectory() string {
	if base := a.getenv("XDG_DATA_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "modelog")
	}
	return filepath.Join(a.getenv("HOME"), ".local", "share", "modelog")
}

// osUser names the actor of a call unless told otherwise.
func osUser() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

// byteSize is a flag such as 256MiB.
type byteSize int64

var byteUnits = []struct {
	suffix string
	factor int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func (b *byteSize) String() string {
	n := int64(*b)
	for _, u := range byteUnits {
		if n >= u.factor && n%u.factor == 0 {
			return strconv.FormatInt(n/u.factor, 10) + u.suffix
		}
	}
	return "0B"
}

// Set reads a whole number of B, KiB, MiB or GiB.
func (b *byteSize) Set(s string) error {
	for _, u := range byteUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 0 || n > (1<<62)/u.factor {
			break
		}
		*b = byteSize(n * u.factor)
		return nil
	}
	return fmt.Errorf("%q is not a size such as 256MiB", s)
}

// Type names the flag's kind in the help text.
func (*byteSize) Type() string { return "size" }

// pairFlag is a flag such as key=value that can be repeated. What pflag has for
// this splits values at commas.
type pairFlag struct{ pairs *map[string]string }

func (p pairFlag) String() string { return "" }

// Set takes one pair; the last one of a key counts.
func (p pairFlag) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return fmt.Errorf("%q is not key=value", s)
	}
	if *p.pairs == nil {
		*p.pairs = map[string]string{}
	}
	(*p.pairs)[key] = value
	return nil
}

// Type names the flag's kind in the help text.
func (pairFlag) Type() string { return "key=value" }
