//go:build race

package camerahealth_test

const raceDetector = true
