package api

import (
	"net/http"
	"strings"

	"github.com/modelog/modelog/events"
	"github.com/modelog/modelog/handlers"
	"github.com/modelog/modelog/projections"
)

// Dataset is how a data set is shown that anything speaks of.
type Dataset struct {
	ID        string `json:"id"` // of its node in the lineage
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// Versions are those that anything speaks of, the last one first.
	Versions     []DatasetVersion  `json:"versions"`
	MoreVersions bool              `json:"more_versions,omitzero"`
	Withdrawn    *WithdrawnDataset `json:"withdrawn,omitempty"` // whole, with all versions
	// WithdrawnVersions are withdrawals of single versions.
	WithdrawnVersions []WithdrawnDataset `json:"withdrawn_versions,omitempty"`
}

// DatasetVersion is how a version of a data set is shown.
type DatasetVersion struct {
	ID      string `json:"id"` // of its node in the lineage
	Version string `json:"version,omitempty"`
	Digest  string `json:"digest,omitempty"`
}

// WithdrawnDataset says that a data set must not be used any more.
type WithdrawnDataset struct {
	ID       string `json:"id"` // node that was withdrawn
	Since    string `json:"since"`
	Reason   string `json:"reason,omitempty"`
	By       string `json:"by,omitempty"`
	Sequence uint64 `json:"sequence"` // of the event that withdrew it
}

// DatasetList is a page of data sets, by namespace and name.
type DatasetList struct {
	Datasets   []Dataset `json:"datasets"`
	NextCursor string    `json:"next_cursor,omitempty"` // absent on the last page
}

// maxVersions is how many versions of a data set are shown with it.
const maxVersions = 100

func datasetRoutes() []endpoint {
	return []endpoint{
		read("/v1/datasets", "listDatasets", "List the data sets that anything speaks of", paging, listDatasets),
		write(http.MethodPost, "/v1/datasets/withdraw", "withdrawDataset", "Say that a data set, or a version of it, must not be used any more", http.StatusOK,
			func(_ *call, body handlers.DatasetChange) (handlers.Command, error) {
				return &handlers.WithdrawDataset{Change: body}, nil
			}, renderDataset),
		write(http.MethodPost, "/v1/datasets/reinstate", "reinstateDataset", "Take the withdrawal of a data set, or a version of it, back", http.StatusOK,
			func(_ *call, body handlers.DatasetChange) (handlers.Command, error) {
				return &handlers.ReinstateDataset{Change: body}, nil
			}, renderDataset),
	}
}

func renderDataset(_ *call, v projections.View, r events.Resource) (answer[Dataset], error) {
	return answer[Dataset]{value: showDataset(v, r.Dataset)}, nil
}

func showDataset(v projections.View, name events.DatasetName) Dataset {
	whole := events.DatasetVersion{Namespace: name.Namespace, Name: name.Name}
	d := Dataset{ID: handlers.NodeName(v, whole.Node()), Namespace: name.Namespace, Name: name.Name, Versions: []DatasetVersion{}}
	versions, more := v.DatasetVersions(name, maxVersions)
	for _, version := range versions {
		d.Versions = append(d.Versions, DatasetVersion{handlers.NodeName(v, version.Node()), version.Version, version.Digest})
	}
	d.MoreVersions = more
	for dataset, w := range v.Withdrawals(name) {
		_, sequence, _ := v.Withdrawal(dataset)
		shown := WithdrawnDataset{
			ID: handlers.NodeName(v, dataset.Node()), Since: events.FormatTime(w.Since()), Reason: w.Reason.String(), By: w.By, Sequence: sequence,
		}
		if dataset == whole {
			d.Withdrawn = &shown
			continue
		}
		d.WithdrawnVersions = append(d.WithdrawnVersions, shown)
	}
	return d
}

// showWithdrawnData names the withdrawn data that a version comes from.
func showWithdrawnData(v projections.View, id events.VersionID) []string {
	withdrawn := v.WithdrawnData(id)
	if len(withdrawn) == 0 {
		return nil
	}
	names := make([]string, len(withdrawn))
	for i, d := range withdrawn {
		names[i] = handlers.NodeName(v, d.Dataset.Node())
	}
	return names
}

func listDatasets(c *call, v projections.View) (answer[DatasetList], error) {
	page, v, err := c.page(v)
	if err != nil {
		return answer[DatasetList]{}, err
	}
	var last events.DatasetName
	if page.Last != "" {
		var ok bool
		if last.Namespace, last.Name, ok = strings.Cut(page.Last, "\x00"); !ok {
			return answer[DatasetList]{}, errCursor
		}
	}
	list := DatasetList{Datasets: []Dataset{}}
	for name := range v.Datasets(last) {
		if page.Last != "" && name == last {
			continue
		}
		if page.full(len(list.Datasets)) {
			end := list.Datasets[len(list.Datasets)-1]
			list.NextCursor = page.next(end.Namespace + "\x00" + end.Name)
			break
		}
		list.Datasets = append(list.Datasets, showDataset(v, name))
	}
	return answer[DatasetList]{value: list}, nil
}
