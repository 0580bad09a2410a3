package handlers

import (
	"errors"
	"fmt"
	"time"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// Deprecation says why a version should not be used any more, when it will be
// gone, and what to use instead.
type Deprecation struct {
	Reason      string `json:"reason,omitempty"`
	Sunset      string `json:"sunset,omitempty"`      // RFC 3339
	Replacement string `json:"replacement,omitempty"` // whole reference
}

// DeprecateVersion asks that a version be not newly promoted or deployed.
type DeprecateVersion struct {
	Model       string      `json:"model"`
	Ref         string      `json:"ref"`
	Deprecation Deprecation `json:"deprecation"`
}

// Kind names the command.
func (*DeprecateVersion) Kind() string { return "deprecate_version" }

func (cmd *DeprecateVersion) check() error {
	var c checker
	d := cmd.Deprecation
	c.length("/reason", d.Reason, MaxReason)
	if _, err := d.sunset(); err != nil {
		c.fail("/sunset", "time", "%q is not a time such as 2026-12-31T00:00:00Z", d.Sunset)
	}
	if d.Replacement != "" {
		c.length("/replacement", d.Replacement, MaxWhole)
		if _, _, err := SplitReference("/replacement", d.Replacement); err != nil {
			c.fail("/replacement", "reference", "%q is not a reference such as fraud/9", d.Replacement)
		}
	}
	return c.err()
}

func (d Deprecation) sunset() (time.Time, error) {
	if d.Sunset == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, d.Sunset)
	if err == nil && t.Year() > 9999 {
		err = errors.New("too late")
	}
	return t.UTC().Truncate(time.Millisecond), err
}

func (cmd *DeprecateVersion) decide(v projections.View, _ occasion) (decision, error) {
	m, id, err := find(v, cmd.Model, cmd.Ref)
	if err != nil {
		return decision{}, err
	}
	sunset, err := cmd.Deprecation.sunset()
	if err != nil {
		return decision{}, err // check has let it through
	}
	e := events.VersionDeprecated{
		ModelID: m.ID, Version: id.Version, Reason: events.Plain(cmd.Deprecation.Reason), Sunset: sunset,
	}
	if whole := cmd.Deprecation.Replacement; whole != "" {
		replacement, err := findWhole(v, "/replacement", whole)
		if err != nil {
			return decision{}, err
		}
		if circular(v, id, replacement) {
			return decision{}, InvalidField("/replacement", "not_circular", "%s is replaced, in the end, by %s/%d itself", whole, m.Name, id.Version)
		}
		e.Replacement = &replacement
	}
	version, _, _ := v.Version(id)
	if sameDeprecation(version.Deprecation, e) {
		return alreadySo(versionResource(id))
	}
	return write(e)
}

// circular says whether following replacements leads back to where they began.
func circular(v projections.View, from, to events.VersionID) bool {
	for seen := map[events.VersionID]bool{}; !seen[to]; {
		if to == from {
			return true
		}
		seen[to] = true
		version, _, ok := v.Version(to)
		if !ok || version.Deprecation == nil || version.Deprecation.Replacement == nil {
			return false
		}
		to = *version.Deprecation.Replacement
	}
	return false
}

func sameDeprecation(d *projections.Deprecation, e events.VersionDeprecated) bool {
	if d == nil || d.Reason != e.Reason {
		return false
	}
	at, ok := d.Sunset()
	if ok != !e.Sunset.IsZero() || (ok && !at.Equal(e.Sunset)) {
		return false
	}
	if d.Replacement == nil || e.Replacement == nil {
		return d.Replacement == e.Replacement
	}
	return *d.Replacement == *e.Replacement
}

func (cmd *DeprecateVersion) etag(v projections.View) (uint64, bool) {
	return versionETag(v, cmd.Model, cmd.Ref)
}

// Restoration says why a version is as good as before.
type Restoration struct {
	Reason string `json:"reason,omitempty"`
}

// RestoreVersion asks to undo a deprecation.
type RestoreVersion struct {
	Model       string      `json:"model"`
	Ref         string      `json:"ref"`
	Restoration Restoration `json:"restoration"`
}

// Kind names the command.
func (*RestoreVersion) Kind() string { return "restore_version" }

func (cmd *RestoreVersion) check() error {
	var c checker
	c.length("/reason", cmd.Restoration.Reason, MaxReason)
	return c.err()
}

func (cmd *RestoreVersion) decide(v projections.View, _ occasion) (decision, error) {
	_, id, err := find(v, cmd.Model, cmd.Ref)
	if err != nil {
		return decision{}, err
	}
	if version, _, _ := v.Version(id); version.Deprecation == nil {
		return alreadySo(versionResource(id))
	}
	return write(events.VersionRestored{
		ModelID: id.ModelID, Version: id.Version, Reason: events.Plain(cmd.Restoration.Reason),
	})
}

func (cmd *RestoreVersion) etag(v projections.View) (uint64, bool) {
	return versionETag(v, cmd.Model, cmd.Ref)
}

// DeprecatedError says that a deprecated version is not newly promoted or
// deployed without force.
type DeprecatedError struct {
	Version     string // as people write it
	Since       time.Time
	Replacement string // as people write it, empty for none
	Verb        string // "promote" or "deploy"
}

// Code is CodeVersionDeprecated.
func (DeprecatedError) Code() Code { return CodeVersionDeprecated }

func (e DeprecatedError) Error() string {
	instead := ""
	if e.Replacement != "" {
		instead = e.Verb + " " + e.Replacement + ", or "
	}
	return fmt.Sprintf("%s is deprecated since %s; %spass force with a reason", e.Version, e.Since.Format(time.DateOnly), instead)
}

// FieldErrors says which field would let it through.
func (DeprecatedError) FieldErrors() []FieldError {
	return []FieldError{{Pointer: "/force", Rule: "required_if_deprecated"}}
}

// deprecated gives the refusal for a version that is deprecated, nil for one
// that isn't.
func deprecated(v projections.View, id events.VersionID, verb string) error {
	version, _, ok := v.Version(id)
	if !ok || version.Deprecation == nil {
		return nil
	}
	e := DeprecatedError{Version: VersionName(v, id), Since: version.Deprecation.Since(), Verb: verb}
	if r := version.Deprecation.Replacement; r != nil {
		e.Replacement = VersionName(v, *r)
	}
	return e
}

// VersionName spells a version as people write it, with the last name of its
// model if that is gone.
func VersionName(v projections.View, id events.VersionID) string {
	name, _ := v.NameOf(id.ModelID)
	return fmt.Sprintf("%s/%d", name, id.Version)
}
