package handlers

import (
	"fmt"
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/projections"
)

// DatasetChange names a data set, or one version of it, that is to be withdrawn or
// reinstated.
type DatasetChange struct {
	Namespace string `json:"namespace,omitempty"` // such as s3://lake; empty as in registrations
	Name      string `json:"name"`
	Version   string `json:"version,omitempty"`
	Digest    string `json:"digest,omitempty"` // all versions without version and digest
	Reason    string `json:"reason,omitempty"`
}

func (d *DatasetChange) check() error {
	var c checker
	c.datasetVersion("", d.dataset())
	c.length("/reason", d.Reason, MaxReason)
	return c.err()
}

func (d *DatasetChange) dataset() events.DatasetVersion {
	return events.DatasetVersion{Namespace: d.Namespace, Name: d.Name, Version: d.Version, Digest: d.Digest}
}

// datasetVersion checks the names of a data set, below a pointer.
func (c *checker) datasetVersion(pointer string, d events.DatasetVersion) {
	if d.Namespace != "" {
		c.uri(pointer+"/namespace", d.Namespace)
	}
	if c.required(pointer+"/name", d.Name) {
		c.uri(pointer+"/name", d.Name)
	}
	c.text(pointer+"/version", d.Version, MaxShort)
	c.text(pointer+"/digest", d.Digest, MaxShort)
}

// WithdrawDataset asks that a data set not be used any more.
type WithdrawDataset struct {
	Change DatasetChange `json:"change"`
}

// Kind names the command.
func (*WithdrawDataset) Kind() string { return "withdraw_dataset" }

func (cmd *WithdrawDataset) check() error { return cmd.Change.check() }

func (cmd *WithdrawDataset) decide(v projections.View, _ occasion) (decision, error) {
	d := cmd.Change.dataset()
	e := events.DatasetWithdrawn{RegistryID: v.Registry().ID, Dataset: d, Reason: events.Plain(cmd.Change.Reason)}
	if _, _, withdrawn := v.Withdrawal(d); withdrawn {
		return alreadySo(e.Resource())
	}
	return write(e)
}

func (cmd *WithdrawDataset) etag(v projections.View) (uint64, bool) {
	return datasetETag(v, cmd.Change)
}

// ReinstateDataset asks to take a withdrawal back: that of the very same data set
// and version.
type ReinstateDataset struct {
	Change DatasetChange `json:"change"`
}

// Kind names the command.
func (*ReinstateDataset) Kind() string { return "reinstate_dataset" }

func (cmd *ReinstateDataset) check() error { return cmd.Change.check() }

func (cmd *ReinstateDataset) decide(v projections.View, _ occasion) (decision, error) {
	d := cmd.Change.dataset()
	e := events.DatasetReinstated{RegistryID: v.Registry().ID, Dataset: d, Reason: events.Plain(cmd.Change.Reason)}
	if _, _, withdrawn := v.Withdrawal(d); !withdrawn {
		return alreadySo(e.Resource())
	}
	return write(e)
}

func (cmd *ReinstateDataset) etag(v projections.View) (uint64, bool) {
	return datasetETag(v, cmd.Change)
}

func datasetETag(v projections.View, d DatasetChange) (uint64, bool) {
	_, sequence, ok := v.Withdrawal(d.dataset())
	return sequence, ok
}

// WithdrawnDataError says that a version that comes from withdrawn data is not
// newly promoted or deployed without force.
type WithdrawnDataError struct {
	Version  string   // as people write it
	Datasets []string // as NodeName spells them, with how sure it is that the version comes from each
	Verb     string   // "promote" or "deploy"
}

// Code is CodeDataWithdrawn.
func (WithdrawnDataError) Code() Code { return CodeDataWithdrawn }

func (e WithdrawnDataError) Error() string {
	return fmt.Sprintf("%s comes from withdrawn data: %s; %s a version without it, or pass force with a reason",
		e.Version, strings.Join(e.Datasets, ", "), e.Verb)
}

// FieldErrors says which field would let it through.
func (WithdrawnDataError) FieldErrors() []FieldError {
	return []FieldError{{Pointer: "/force", Rule: "required_if_data_withdrawn"}}
}

// maxNamedData is how many data sets a refusal names.
const maxNamedData = 5

// unfit gives the refusal for a version that should not be newly used: it is
// deprecated, or comes from withdrawn data. It is nil for any other.
func unfit(v projections.View, id events.VersionID, verb string) error {
	if err := deprecated(v, id, verb); err != nil {
		return err
	}
	withdrawn := v.WithdrawnData(id)
	if len(withdrawn) == 0 {
		return nil
	}
	e := WithdrawnDataError{Version: VersionName(v, id), Verb: verb}
	for i, d := range withdrawn {
		if i == maxNamedData {
			e.Datasets = append(e.Datasets, fmt.Sprintf("and %d more", len(withdrawn)-i))
			break
		}
		e.Datasets = append(e.Datasets, fmt.Sprintf("%s (%s)", NodeName(v, d.Dataset.Node()), d.Certainty))
	}
	return e
}
