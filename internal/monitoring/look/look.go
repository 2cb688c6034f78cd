// Package look draws the dashboards for people to look at.
//
// It has nothing to call: "make dashboards-look" runs a demo with faults on real programs,
// asks a real Prometheus for what each panel shows, draws it with Grafana's own component
// library in a browser, and leaves PNG files below .cache/dashboards. It fails if a panel is
// empty, or if a title or a legend does not fit. It also has TypeScript compare them with the
// types of the oldest and the newest Grafana that they are for.
package look
