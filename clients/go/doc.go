// Package sigil is the client for Sigil: it asks a server whether a principal may do something now. Anything but an
// allow is a deny.
package sigil
