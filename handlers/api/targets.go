package api

import (
	"net/http"
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
)

// TargetList is a page of targets, by environment and name.
type TargetList struct {
	Targets    []Target `json:"targets"`
	NextCursor string   `json:"next_cursor,omitempty"` // absent on the last page
	Asked      *Asked   `json:"asked,omitempty"`       // with valid_at only
}

func targetRoutes() []endpoint {
	return []endpoint{
		read("/v1/targets", "listTargets", "List the targets with what runs on them", append([]parameter{validAtQuery}, paging...), listTargets),
		read("/v1/targets/{environment}/{name}", "getTarget", "Get a target with what runs on it", []parameter{validAtQuery},
			func(c *call, v projections.View) (answer[Target], error) {
				if c.query.Has(validAtQuery.name) {
					return getTargetInForce(c, v)
				}
				t, sequence, err := handlers.FindTarget(v, c.target())
				if err != nil {
					return answer[Target]{}, err
				}
				return answer[Target]{value: showTarget(v, t, sequence), etag: sequence}, nil
			}),
		write(http.MethodPut, "/v1/targets/{environment}/{name}", "defineTarget", "Define a target, or change its description", http.StatusOK,
			func(c *call, spec handlers.TargetSpec) (handlers.Command, error) {
				return &handlers.DefineTarget{Target: c.target(), Spec: spec}, nil
			}, renderTarget),
		write(http.MethodPost, "/v1/targets/{environment}/{name}/deploy", "deployVersion", "Run a version on a target", http.StatusOK,
			func(c *call, body handlers.Deployment) (handlers.Command, error) {
				return &handlers.DeployVersion{Target: c.target(), Deployment: body}, nil
			}, renderTarget),
		write(http.MethodPost, "/v1/targets/{environment}/{name}/rollback", "rollBack", "Restore what ran on a target before", http.StatusOK,
			func(c *call, body handlers.Rollback) (handlers.Command, error) {
				return &handlers.RollBack{Target: c.target(), Rollback: body}, nil
			}, renderTarget),
		write(http.MethodPost, "/v1/targets/{environment}/{name}/undeploy", "undeploy", "Let nothing run on a target", http.StatusOK,
			func(c *call, body handlers.Withdrawal) (handlers.Command, error) {
				return &handlers.Undeploy{Target: c.target(), Withdrawal: body}, nil
			}, renderTarget),
		remove("/v1/targets/{environment}/{name}", "removeTarget", "Remove a target on which nothing runs", []parameter{reasonQuery},
			func(c *call) (handlers.Command, error) {
				d, err := c.deletion()
				return &handlers.RemoveTarget{Target: c.target(), Deletion: d}, err
			}),
	}
}

func (c *call) target() projections.TargetName {
	return projections.TargetName{Environment: c.r.PathValue("environment"), Name: c.r.PathValue("name")}
}

func renderTarget(c *call, v projections.View, r events.Resource) (answer[Target], error) {
	t, sequence, ok := v.TargetByID(r.Root.ID)
	if !ok {
		return answer[Target]{}, handlers.NotFoundError{What: handlers.CodeTargetNotFound, Name: r.Root.ID.String()}
	}
	if routes, _, ok := v.Routes(t.ID); ok {
		for _, variant := range routes.Variants {
			id := events.VersionID{ModelID: variant.ModelID, Version: variant.Version}
			c.warn(v, id)
			c.warnOfData(v, id)
		}
	}
	return answer[Target]{value: showTarget(v, t, sequence), etag: sequence}, nil
}

func listTargets(c *call, v projections.View) (answer[TargetList], error) {
	page, v, err := c.page(v)
	if err != nil {
		return answer[TargetList]{}, err
	}
	if c.query.Has(validAtQuery.name) {
		return listTargetsInForce(c, v, page)
	}
	list := TargetList{Targets: []Target{}}
	for t := range v.Targets(page.fromTarget()) {
		if page.skip(t.Name.String()) {
			continue
		}
		if page.full(len(list.Targets)) {
			list.NextCursor = page.nextTarget(list.Targets)
			break
		}
		_, sequence, _ := v.TargetByID(t.ID)
		list.Targets = append(list.Targets, showTarget(v, t, sequence))
	}
	return answer[TargetList]{value: list}, nil
}

func (p page) fromTarget() projections.TargetName {
	environment, name, _ := strings.Cut(p.from(), "/")
	return projections.TargetName{Environment: environment, Name: name}
}

func (p page) nextTarget(shown []Target) string {
	last := shown[len(shown)-1]
	return p.next(last.Environment + "/" + last.Name)
}
