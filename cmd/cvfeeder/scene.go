package main

import (
	"context"
	"image"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest/scene"
)

// newScene returns what the fake cameras see: a video file, or a scene that is
// drawn where there is none. The zero size is the scene's own.
func newScene(ctx context.Context, video string, size image.Point) (scene.Scene, error) {
	if video != "" {
		return scene.NewVideo(ctx, video, size)
	}
	if size == (image.Point{}) {
		size = image.Pt(1280, 720)
	}
	return scene.NewDrawn(size)
}
