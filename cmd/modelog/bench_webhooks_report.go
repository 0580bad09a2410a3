package main

import (
	"fmt"
	"io"
)

// benchWebhookFigures are what was found of deliveries.
type benchWebhookFigures struct {
	Rows []benchRow `json:"measures"`

	PublishP99  [2]float64 `json:"publish_p99_ms"`  // without the wide subscriptions, and with them
	DeliveryP99 [2]float64 `json:"delivery_p99_ms"` // without endpoints that hang, and with them
	Bare        []float64  `json:"bare_per_second"`
	Delivered   []float64  `json:"delivered_per_second"`
}

func (f *benchWebhookFigures) add(measure, unit string, bar float64, atLeast bool, figures ...float64) {
	row := benchRow{Measure: measure, Unit: unit, Figure: spreadOf(figures), Bar: bar, AtLeast: atLeast}
	row.OK = row.Figure.Median <= bar
	if atLeast {
		row.OK = row.Figure.Median >= bar
	}
	f.Rows = append(f.Rows, row)
}

func (f *benchWebhookFigures) wide(without, with float64) {
	f.PublishP99 = [2]float64{without, with}
	f.add(fmt.Sprintf("publish p99 with %s wide subscriptions ÷ without", spelledCount(benchWide)), "", mostPublishRatio, false, with/without)
}

func (f *benchWebhookFigures) hanging(without, with float64) {
	f.DeliveryP99 = [2]float64{without, with}
	f.add(fmt.Sprintf("delivery p99 with %d of %s endpoints hanging ÷ without", benchHanging, spelledCount(benchNarrow)), "", mostHealthyRatio, false, with/without)
}

func (f *benchWebhookFigures) single(ms float64) {
	f.add("publish to delivered on an idle system, p99", "ms", mostDeliveryMS, false, ms)
}

func (f *benchWebhookFigures) rates(bare, delivered float64) {
	f.Bare, f.Delivered = append(f.Bare, bare), append(f.Delivered, delivered)
}

func (f *benchWebhookFigures) backlog(delivered, replayed []float64) {
	f.add("deliveries to one endpoint ÷ bare loop", "", leastDeliveryRate, true, delivered...)
	f.add(fmt.Sprintf("replay of %s events ÷ bare loop", spelledCount(benchBacklog)), "", leastDeliveryRate, true, replayed...)
}

func (f *benchWebhookFigures) idle(kilobytes float64) {
	f.add("memory of an idle subscription, what is alive", "KB", mostIdleKB, false, kilobytes)
}

func showWebhooksBench(w io.Writer, f *benchWebhookFigures) error {
	if err := rows(w, rowsOfBench("DELIVERIES", f.Rows)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "publish p99 %s and %s ms, delivery p99 %s and %s ms; a second: bare loop %s, deliveries %s\n\n",
		spelledFigure(f.PublishP99[0]), spelledFigure(f.PublishP99[1]), spelledFigure(f.DeliveryP99[0]), spelledFigure(f.DeliveryP99[1]),
		spelledRate(spreadOf(f.Bare)), spelledRate(spreadOf(f.Delivered)))
	return err
}
