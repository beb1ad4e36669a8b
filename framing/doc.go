// Package framing is the wire between a microVM's guest agent and its host.
package framing
