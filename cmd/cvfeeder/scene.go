package main

import (
	"context"
	"image"

	"github.com/cvfeeder/cvfeeder/source/kinesis/kinesistest/scene"
)

// newScene returns what the fake cameras show: the video file, or a drawn street if
// video is "". The zero size means the video's own, or 1280x720.
func newScene(ctx context.Context, video string, size image.Point) (scene.Scene, error) {
	if video != "" {
		return scene.NewVideo(ctx, video, size)
	}
	if size == (image.Point{}) {
		size = image.Pt(1280, 720)
	}
	return scene.NewDrawn(size)
}
