// Package lineageformat writes a lineage graph down for people and for other
// programs: as a tree for the terminal, in Graphviz's language, as a drawing (SVG),
// and as W3C PROV-JSON. The API and the command line share it.
//
// It knows nothing of where a graph comes from and does no I/O. Whatever a name,
// a reason or another text of somebody's holds, it is escaped here for the format
// that it is written into.
package lineageformat
