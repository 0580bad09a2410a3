package events

import (
	"fmt"
	"strings"

	"github.com/oklog/ulid/v2"
)

var deploymentReaders = []kindReader{
	reads[DeploymentDeployed](), reads[DeploymentRolledBack](), reads[DeploymentWithdrawn](),
}

// AllAtOnce is the strategy of a deployment that takes all of a target's traffic
// at once.
const AllAtOnce = "all_at_once"

// Roles of a variant in a route table.
const (
	RoleChampion   = "champion"
	RoleChallenger = "challenger"
	RoleShadow     = "shadow"
)

// FullWeight is all of a target's traffic, in basis points.
const FullWeight = 10_000

// Variant is one version in a route table.
type Variant struct {
	ModelID ulid.ULID `json:"model_id"`
	Version int       `json:"version"`
	Role    string    `json:"role"`
	Weight  int       `json:"weight"` // share of the traffic in basis points
}

// DeploymentDeployed records that a target's route table was set. The table is
// whole: what isn't in it doesn't run there any more. Its generation is the
// sequence of this event.
type DeploymentDeployed struct {
	TargetID ulid.ULID `json:"target_id"`
	Strategy string    `json:"strategy"`
	Variants []Variant `json:"variants,omitempty"`
	Reason   Text      `json:"reason,omitzero"`
	Forced   bool      `json:"forced,omitzero"` // a rule spoke against it
}

func (DeploymentDeployed) kind() string { return "deployment.deployed.v1" }

// Resource is the target.
func (e DeploymentDeployed) Resource() Resource {
	return Resource{Root: Root{TargetRoot, e.TargetID}}
}

// Summary tells people what happened.
func (e DeploymentDeployed) Summary() string {
	s := "deployed " + spellVariants(e.Variants)
	if e.Forced {
		s += " (forced)"
	}
	return because(s, e.Reason)
}

// DeploymentRolledBack records that a target's route table of an earlier
// generation was restored whole. The restored table gets a generation of its
// own: the sequence of this event.
type DeploymentRolledBack struct {
	TargetID ulid.ULID `json:"target_id"`
	From     uint64    `json:"from"` // the generation that was rolled back from
	To       uint64    `json:"to"`   // the generation whose table is restored
	Strategy string    `json:"strategy"`
	Variants []Variant `json:"variants,omitempty"` // the restored table
	Reason   Text      `json:"reason,omitzero"`
}

func (DeploymentRolledBack) kind() string { return "deployment.rolled_back.v1" }

// Resource is the target.
func (e DeploymentRolledBack) Resource() Resource {
	return Resource{Root: Root{TargetRoot, e.TargetID}}
}

// Summary tells people what happened.
func (e DeploymentRolledBack) Summary() string {
	return because(fmt.Sprintf("rolled back from generation %d to %d, to %s", e.From, e.To, spellVariants(e.Variants)), e.Reason)
}

// DeploymentWithdrawn records that nothing runs on a target any more. The empty
// table has a generation of its own: the sequence of this event.
type DeploymentWithdrawn struct {
	TargetID ulid.ULID `json:"target_id"`
	From     uint64    `json:"from"` // the generation that was withdrawn
	Reason   Text      `json:"reason,omitzero"`
}

func (DeploymentWithdrawn) kind() string { return "deployment.withdrawn.v1" }

// Resource is the target.
func (e DeploymentWithdrawn) Resource() Resource { return targetResource(e.TargetID) }

// Summary tells people what happened.
func (e DeploymentWithdrawn) Summary() string {
	return because(fmt.Sprintf("withdrew generation %d", e.From), e.Reason)
}

func spellVariants(variants []Variant) string {
	spelled := make([]string, len(variants))
	for i, v := range variants {
		spelled[i] = fmt.Sprintf("version %d as %s (%g %%)", v.Version, v.Role, float64(v.Weight)*100/FullWeight)
	}
	return strings.Join(spelled, ", ")
}
