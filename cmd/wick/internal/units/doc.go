// Package units is about figures as a user writes and reads them: sizes like 1.5G, times like
// 1m30s, and numbers of processors. Its flags take them in docker's forms, and its short texts
// fit a column.
package units
