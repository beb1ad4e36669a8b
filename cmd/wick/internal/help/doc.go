// Package help writes the help texts of commands (usage.go) and their manual pages (manual.go),
// from the descriptions that cobra has of them. It knows what to say instead of a word or a flag of
// docker's that wick lacks. It finds the name that a mistyped one most likely means (docker.go).
package help
